CREATE FUNCTION quiet() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_event_trigger_ddl_commands(); END$$;
CREATE FUNCTION dropped() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_event_trigger_dropped_objects(); END$$;
CREATE EVENT TRIGGER event_triggers_end ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'DROP TABLE') EXECUTE FUNCTION quiet();
CREATE EVENT TRIGGER event_triggers_drop ON sql_drop EXECUTE FUNCTION dropped();
CREATE EVENT TRIGGER "event_triggers Always" ON ddl_command_end EXECUTE FUNCTION quiet();
ALTER EVENT TRIGGER "event_triggers Always" ENABLE ALWAYS;
CREATE EVENT TRIGGER event_triggers_off ON ddl_command_end EXECUTE FUNCTION quiet();
ALTER EVENT TRIGGER event_triggers_off DISABLE;
COMMENT ON EVENT TRIGGER event_triggers_end IS 'quiet';
