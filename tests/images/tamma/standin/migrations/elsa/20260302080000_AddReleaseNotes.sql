ALTER TABLE elsa.workflow_instances ADD COLUMN outcome text;
INSERT INTO elsa.workflow_definitions (id, name) VALUES ('release-notes', 'Release notes');
