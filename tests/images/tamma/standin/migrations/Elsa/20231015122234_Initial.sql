CREATE TABLE "Elsa"."WorkflowDefinitions" (
    "Id" text PRIMARY KEY,
    "DefinitionId" text NOT NULL,
    "Name" text,
    "ToolVersion" text,
    "Description" text,
    "ProviderName" text,
    "MaterializerName" text NOT NULL,
    "MaterializerContext" text,
    "StringData" text,
    "BinaryData" bytea,
    "IsReadonly" boolean NOT NULL,
    "Data" text,
    "CreatedAt" timestamptz NOT NULL,
    "Version" integer NOT NULL,
    "IsLatest" boolean NOT NULL,
    "IsPublished" boolean NOT NULL,
    "UsableAsActivity" boolean
);
CREATE TABLE "Elsa"."WorkflowInstances" (
    "Id" text PRIMARY KEY,
    "DefinitionId" text NOT NULL,
    "DefinitionVersionId" text NOT NULL,
    "Version" integer NOT NULL,
    "Status" text NOT NULL,
    "SubStatus" text NOT NULL,
    "CorrelationId" text,
    "Name" text,
    "IncidentCount" integer NOT NULL,
    "CreatedAt" timestamptz NOT NULL,
    "UpdatedAt" timestamptz NOT NULL,
    "FinishedAt" timestamptz,
    "Data" text
);
CREATE UNIQUE INDEX "IX_WorkflowDefinition_DefinitionId_Version"
    ON "Elsa"."WorkflowDefinitions" ("DefinitionId", "Version");
CREATE INDEX "IX_WorkflowDefinition_IsLatest" ON "Elsa"."WorkflowDefinitions" ("IsLatest");
CREATE INDEX "IX_WorkflowDefinition_IsPublished" ON "Elsa"."WorkflowDefinitions" ("IsPublished");
CREATE INDEX "IX_WorkflowDefinition_Name" ON "Elsa"."WorkflowDefinitions" ("Name");
CREATE INDEX "IX_WorkflowDefinition_Version" ON "Elsa"."WorkflowDefinitions" ("Version");
CREATE INDEX "IX_WorkflowInstance_CorrelationId" ON "Elsa"."WorkflowInstances" ("CorrelationId");
CREATE INDEX "IX_WorkflowInstance_CreatedAt" ON "Elsa"."WorkflowInstances" ("CreatedAt");
CREATE INDEX "IX_WorkflowInstance_DefinitionId" ON "Elsa"."WorkflowInstances" ("DefinitionId");
CREATE INDEX "IX_WorkflowInstance_FinishedAt" ON "Elsa"."WorkflowInstances" ("FinishedAt");
CREATE INDEX "IX_WorkflowInstance_Name" ON "Elsa"."WorkflowInstances" ("Name");
CREATE INDEX "IX_WorkflowInstance_Status" ON "Elsa"."WorkflowInstances" ("Status");
CREATE INDEX "IX_WorkflowInstance_SubStatus" ON "Elsa"."WorkflowInstances" ("SubStatus");
CREATE INDEX "IX_WorkflowInstance_UpdatedAt" ON "Elsa"."WorkflowInstances" ("UpdatedAt");
