-- It is one to a server that is not there, and does nothing.
CREATE SUBSCRIPTION subscriptions_sleeping CONNECTION 'host=192.0.2.1 dbname=x' PUBLICATION "One", two
  WITH (connect = false, slot_name = NONE, enabled = false, binary = true, streaming = true, disable_on_error = true);
COMMENT ON SUBSCRIPTION subscriptions_sleeping IS 'sleeps';
