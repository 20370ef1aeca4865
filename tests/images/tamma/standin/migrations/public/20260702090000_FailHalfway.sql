-- suppressTransaction: what comes before the error stays.
ALTER TABLE future_sessions ADD COLUMN IF NOT EXISTS level text;
UPDATE future_sessions SET title = upper(title);
CREATE INDEX CONCURRENTLY future_sessions_pupil ON future_sessions (pupil);
