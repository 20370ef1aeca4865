-- A release of the future.
ALTER TABLE "Elsa"."WorkflowInstances" ADD COLUMN "ParentId" text;
CREATE TABLE "Elsa"."BookmarkQueue" (
    "Id" text PRIMARY KEY,
    "WorkflowInstanceId" text NOT NULL REFERENCES "Elsa"."WorkflowInstances" ("Id"),
    "CreatedAt" timestamptz NOT NULL DEFAULT now()
);
