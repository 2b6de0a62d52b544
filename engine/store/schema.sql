CREATE TABLE alembic_version (
  version_num VARCHAR(32) NOT NULL,
  CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE effects (
  id INTEGER NOT NULL,
  identity TEXT NOT NULL,
  run BIGINT NOT NULL,
  path TEXT NOT NULL,
  action TEXT NOT NULL,
  connection TEXT,
  class TEXT NOT NULL,
  inputs JSON NOT NULL,
  inputs_hash TEXT NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  result JSON,
  error JSON,
  created BIGINT NOT NULL,
  ended BIGINT,
  PRIMARY KEY (id),
  UNIQUE (identity)
);
CREATE INDEX effects_open ON effects (state) WHERE state IN ('intent', 'unknown');
CREATE INDEX effects_run ON effects (run, id);
CREATE TABLE events (
  id INTEGER NOT NULL,
  uid TEXT NOT NULL,
  type TEXT NOT NULL,
  source TEXT NOT NULL,
  time BIGINT NOT NULL,
  received BIGINT NOT NULL,
  subject_type TEXT,
  subject TEXT,
  actor JSON,
  data JSON,
  "before" JSON,
  "after" JSON,
  note JSON,
  delivery TEXT,
  caused_by TEXT,
  cause_run BIGINT,
  own INTEGER NOT NULL,
  depth INTEGER NOT NULL,
  private INTEGER NOT NULL,
  state TEXT NOT NULL,
  reason TEXT,
  listeners TEXT,
  PRIMARY KEY (id),
  UNIQUE (uid),
  UNIQUE (delivery)
);
CREATE INDEX events_new ON events (state) WHERE state = 'new';
CREATE INDEX events_subject ON events (subject, id);
CREATE INDEX events_type ON events (type, id);
CREATE TABLE listeners (
  hash TEXT NOT NULL,
  versions JSON NOT NULL,
  PRIMARY KEY (hash)
);
CREATE TABLE moves (
  old TEXT NOT NULL,
  new TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (old)
);
CREATE TABLE mutes (
  id INTEGER NOT NULL,
  person TEXT NOT NULL,
  subject_type TEXT NOT NULL,
  subject TEXT NOT NULL,
  until BIGINT NOT NULL,
  "by" JSON NOT NULL,
  at BIGINT NOT NULL,
  ended BIGINT,
  ended_by JSON,
  PRIMARY KEY (id)
);
CREATE INDEX mutes_subject ON mutes (subject, person);
CREATE TABLE outbox (
  id INTEGER NOT NULL,
  place TEXT NOT NULL,
  connection TEXT NOT NULL,
  person JSON,
  channel TEXT,
  run BIGINT NOT NULL,
  round INTEGER NOT NULL,
  path TEXT NOT NULL,
  action TEXT NOT NULL,
  subject_type TEXT,
  subject TEXT,
  open INTEGER NOT NULL,
  text TEXT NOT NULL,
  during TEXT,
  at BIGINT NOT NULL,
  due BIGINT NOT NULL,
  state TEXT NOT NULL,
  digest BIGINT,
  reason TEXT,
  PRIMARY KEY (id)
);
CREATE INDEX outbox_digest ON outbox (digest);
CREATE INDEX outbox_waiting ON outbox (place, id) WHERE state = 'waiting';
CREATE TABLE pauses (
  workflow TEXT NOT NULL,
  since BIGINT NOT NULL,
  "by" TEXT NOT NULL,
  until BIGINT,
  PRIMARY KEY (workflow)
);
CREATE TABLE rows (
  connection TEXT NOT NULL,
  "key" TEXT NOT NULL,
  data JSON NOT NULL,
  PRIMARY KEY (connection, "key")
);
CREATE TABLE "runs" (
  id INTEGER NOT NULL,
  uid TEXT NOT NULL,
  workflow TEXT NOT NULL,
  "key" TEXT NOT NULL,
  version TEXT NOT NULL,
  round INTEGER NOT NULL,
  round_event BIGINT NOT NULL,
  event BIGINT NOT NULL,
  "trigger" TEXT NOT NULL,
  subject_type TEXT,
  subject TEXT,
  state TEXT NOT NULL,
  reason TEXT,
  error JSON,
  depth INTEGER NOT NULL,
  wake INTEGER NOT NULL,
  created BIGINT NOT NULL,
  updated BIGINT NOT NULL,
  ended BIGINT,
  dry INTEGER DEFAULT '0' NOT NULL, slot TEXT,
  PRIMARY KEY (id),
  CONSTRAINT runs_key UNIQUE (workflow, "key", dry),
  UNIQUE (uid)
);
CREATE INDEX runs_going ON runs (id) WHERE ended IS NULL;
CREATE INDEX runs_slot ON runs (workflow, slot) WHERE slot IS NOT NULL AND ended IS NULL;
CREATE INDEX runs_state ON runs (state, id);
CREATE INDEX runs_subject ON runs (subject, ended);
CREATE TABLE schedules (
  id TEXT NOT NULL,
  due BIGINT,
  first BIGINT NOT NULL,
  cursor JSON,
  inputs TEXT,
  PRIMARY KEY (id)
);
CREATE TABLE sent (
  identity TEXT NOT NULL,
  person TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (identity, person)
);
CREATE INDEX sent_person ON sent (person, at);
CREATE TABLE steps (
  id INTEGER NOT NULL,
  run BIGINT NOT NULL,
  path TEXT NOT NULL,
  kind TEXT NOT NULL,
  data JSON NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (id)
);
CREATE INDEX steps_run ON steps (run, id);
CREATE TABLE subjects (
  type TEXT NOT NULL,
  id TEXT NOT NULL,
  "key" TEXT,
  connection TEXT NOT NULL,
  state JSON NOT NULL,
  incident TEXT,
  source_time BIGINT,
  engine_time BIGINT,
  first_seen BIGINT NOT NULL,
  refreshed BIGINT NOT NULL,
  changed_run BIGINT,
  event BIGINT,
  PRIMARY KEY (type, id)
);
CREATE INDEX subjects_incident ON subjects (incident);
CREATE INDEX subjects_key ON subjects (type, "key");
CREATE INDEX subjects_private ON subjects (id) WHERE json_extract(state, '$.private') = 1;
CREATE TABLE verdicts (
  id INTEGER NOT NULL,
  event BIGINT NOT NULL,
  workflow TEXT NOT NULL,
  kind TEXT NOT NULL,
  run BIGINT,
  detail JSON,
  at BIGINT NOT NULL,
  PRIMARY KEY (id)
);
CREATE INDEX verdicts_event ON verdicts (event);
CREATE INDEX verdicts_workflow ON verdicts (workflow, id);
CREATE TABLE waits (
  id INTEGER NOT NULL,
  run BIGINT,
  path TEXT NOT NULL,
  kind TEXT NOT NULL,
  due BIGINT,
  event_type TEXT,
  field TEXT,
  value TEXT,
  cursor BIGINT,
  workflow TEXT,
  "trigger" TEXT,
  subject TEXT,
  event BIGINT,
  PRIMARY KEY (id)
);
CREATE INDEX waits_digest ON waits (value) WHERE kind = 'digest';
CREATE INDEX waits_due ON waits (due);
CREATE INDEX waits_effect ON waits (value) WHERE kind = 'effect';
CREATE INDEX waits_event ON waits (event_type, field, value);
CREATE INDEX waits_run ON waits (run, path);
CREATE INDEX waits_settle ON waits (workflow, "trigger", subject);
CREATE INDEX waits_turn ON waits (run) WHERE kind = 'turn';
CREATE TABLE workflow_versions (
  hash TEXT NOT NULL,
  workflow TEXT NOT NULL,
  source TEXT NOT NULL,
  templates JSON NOT NULL,
  loaded BIGINT NOT NULL,
  PRIMARY KEY (hash)
);
INSERT INTO alembic_version VALUES ('0007');
