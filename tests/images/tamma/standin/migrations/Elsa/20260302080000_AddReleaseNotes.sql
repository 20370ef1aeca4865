-- A release of the future.
ALTER TABLE "Elsa"."WorkflowInstances" ADD COLUMN "Outcome" text;
