CREATE TABLE base (id int, s varchar(10));
INSERT INTO base VALUES (1, 'open');
CREATE TABLE log (line text);
CREATE RULE noted AS ON INSERT TO base WHERE NEW.s IN ('open', 'closed') DO ALSO INSERT INTO rules.log VALUES ('in ' || NEW.id);
CREATE RULE protected AS ON DELETE TO base DO INSTEAD NOTHING;
CREATE VIEW shown AS SELECT id, s FROM base WHERE s IN ('open', 'closed');
CREATE RULE "up; date" AS ON UPDATE TO shown DO INSTEAD (
  UPDATE rules.base SET s = NEW.s WHERE id = OLD.id; INSERT INTO rules.log VALUES ('up'));
CREATE RULE adding AS ON INSERT TO shown DO INSTEAD INSERT INTO rules.base VALUES (NEW.id, NEW.s) RETURNING id, s;
CREATE RULE off AS ON UPDATE TO base DO ALSO NOTHING;
ALTER TABLE base DISABLE RULE off;
CREATE RULE always AS ON UPDATE TO log DO ALSO NOTHING;
ALTER TABLE log ENABLE ALWAYS RULE always;
COMMENT ON RULE noted ON base IS 'notes';
