CREATE TABLE "Elsa"."ActivityExecutionRecords" (
    "Id" text PRIMARY KEY,
    "WorkflowInstanceId" text NOT NULL,
    "ActivityId" text NOT NULL,
    "ActivityNodeId" text NOT NULL,
    "ActivityType" text NOT NULL,
    "ActivityTypeVersion" integer NOT NULL,
    "ActivityName" text,
    "StartedAt" timestamptz NOT NULL,
    "HasBookmarks" boolean NOT NULL,
    "Status" text NOT NULL,
    "CompletedAt" timestamptz,
    "SerializedActivityState" text,
    "SerializedException" text,
    "SerializedOutputs" text,
    "SerializedPayload" text
);
CREATE TABLE "Elsa"."Bookmarks" (
    "BookmarkId" text PRIMARY KEY,
    "ActivityTypeName" text NOT NULL,
    "Hash" text NOT NULL,
    "WorkflowInstanceId" text NOT NULL,
    "ActivityInstanceId" text,
    "CorrelationId" text,
    "CreatedAt" timestamptz NOT NULL,
    "SerializedMetadata" text,
    "SerializedPayload" text
);
CREATE TABLE "Elsa"."Triggers" (
    "Id" text PRIMARY KEY,
    "WorkflowDefinitionId" text NOT NULL,
    "WorkflowDefinitionVersionId" text NOT NULL,
    "Name" text,
    "ActivityId" text NOT NULL,
    "Hash" text,
    "SerializedPayload" text
);
CREATE TABLE "Elsa"."WorkflowExecutionLogRecords" (
    "Id" text PRIMARY KEY,
    "WorkflowDefinitionId" text NOT NULL,
    "WorkflowDefinitionVersionId" text NOT NULL,
    "WorkflowInstanceId" text NOT NULL,
    "WorkflowVersion" integer NOT NULL,
    "ActivityInstanceId" text NOT NULL,
    "ActivityId" text NOT NULL,
    "ActivityType" text NOT NULL,
    "ActivityTypeVersion" integer NOT NULL,
    "ActivityName" text,
    "NodeId" text NOT NULL,
    "Timestamp" timestamptz NOT NULL,
    "Sequence" bigint NOT NULL,
    "EventName" text,
    "Message" text,
    "Source" text,
    "SerializedActivityState" text,
    "SerializedPayload" text
);
CREATE TABLE "Elsa"."WorkflowInboxMessages" (
    "Id" text PRIMARY KEY,
    "ActivityTypeName" text NOT NULL,
    "Hash" text NOT NULL,
    "WorkflowInstanceId" text,
    "ActivityInstanceId" text,
    "CorrelationId" text,
    "CreatedAt" timestamptz NOT NULL,
    "ExpiresAt" timestamptz NOT NULL,
    "SerializedBookmarkPayload" text,
    "SerializedInput" text
);
CREATE INDEX "IX_ActivityExecutionRecord_ActivityId" ON "Elsa"."ActivityExecutionRecords" ("ActivityId");
CREATE INDEX "IX_ActivityExecutionRecord_ActivityType" ON "Elsa"."ActivityExecutionRecords" ("ActivityType");
CREATE INDEX "IX_ActivityExecutionRecord_CompletedAt" ON "Elsa"."ActivityExecutionRecords" ("CompletedAt");
CREATE INDEX "IX_ActivityExecutionRecord_StartedAt" ON "Elsa"."ActivityExecutionRecords" ("StartedAt");
CREATE INDEX "IX_ActivityExecutionRecord_Status" ON "Elsa"."ActivityExecutionRecords" ("Status");
CREATE INDEX "IX_ActivityExecutionRecord_Instance" ON "Elsa"."ActivityExecutionRecords" ("WorkflowInstanceId");
CREATE INDEX "IX_Bookmark_ActivityTypeName" ON "Elsa"."Bookmarks" ("ActivityTypeName");
CREATE INDEX "IX_Bookmark_CreatedAt" ON "Elsa"."Bookmarks" ("CreatedAt");
CREATE INDEX "IX_Bookmark_Hash" ON "Elsa"."Bookmarks" ("Hash");
CREATE INDEX "IX_Bookmark_WorkflowInstanceId" ON "Elsa"."Bookmarks" ("WorkflowInstanceId");
CREATE INDEX "IX_Trigger_Hash" ON "Elsa"."Triggers" ("Hash");
CREATE INDEX "IX_Trigger_Name" ON "Elsa"."Triggers" ("Name");
CREATE INDEX "IX_Trigger_WorkflowDefinitionId" ON "Elsa"."Triggers" ("WorkflowDefinitionId");
CREATE INDEX "IX_LogRecord_ActivityId" ON "Elsa"."WorkflowExecutionLogRecords" ("ActivityId");
CREATE INDEX "IX_LogRecord_EventName" ON "Elsa"."WorkflowExecutionLogRecords" ("EventName");
CREATE INDEX "IX_LogRecord_Sequence" ON "Elsa"."WorkflowExecutionLogRecords" ("Sequence");
CREATE INDEX "IX_LogRecord_Timestamp" ON "Elsa"."WorkflowExecutionLogRecords" ("Timestamp");
CREATE INDEX "IX_LogRecord_Definition" ON "Elsa"."WorkflowExecutionLogRecords" ("WorkflowDefinitionId");
CREATE INDEX "IX_LogRecord_Instance" ON "Elsa"."WorkflowExecutionLogRecords" ("WorkflowInstanceId");
CREATE INDEX "IX_InboxMessage_CreatedAt" ON "Elsa"."WorkflowInboxMessages" ("CreatedAt");
CREATE INDEX "IX_InboxMessage_ExpiresAt" ON "Elsa"."WorkflowInboxMessages" ("ExpiresAt");
CREATE INDEX "IX_InboxMessage_Hash" ON "Elsa"."WorkflowInboxMessages" ("Hash");
