-- suppressTransaction: what comes before the error stays.
ALTER TABLE tamma.mentorship_sessions ADD COLUMN IF NOT EXISTS level text;
UPDATE tamma.mentorship_sessions SET title = upper(title);
CREATE INDEX CONCURRENTLY mentorship_sessions_pupil ON tamma.mentorship_sessions (pupil);
