/**
 * Permits and holds (docs/permits.md, docs/storage.md). What was asked and known stays where it is sealed and can be
 * erased: in the record of the step, which `step` names by its `sseq`. PEPs and audiences are no people.
 */
export const PERMIT_STEP = `
  CREATE TABLE permit(id TEXT PRIMARY KEY, run TEXT NOT NULL, step INTEGER NOT NULL, aud TEXT NOT NULL,
    offline INTEGER NOT NULL, iat_ms INTEGER NOT NULL, exp_ms INTEGER NOT NULL, hold TEXT, used_by TEXT,
    used_key TEXT) STRICT, WITHOUT ROWID;
  CREATE INDEX permit_end ON permit(exp_ms);
  CREATE TABLE hold(id TEXT PRIMARY KEY, permit TEXT NOT NULL, run TEXT NOT NULL, step INTEGER NOT NULL,
    redeemed INTEGER NOT NULL, aud TEXT NOT NULL, asker TEXT NOT NULL, since_ms INTEGER NOT NULL,
    valid_until_ms INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT, outcome TEXT, ended_ms INTEGER,
    event INTEGER) STRICT, WITHOUT ROWID;
  CREATE INDEX hold_active ON hold(valid_until_ms) WHERE state = 'active';
  CREATE INDEX hold_event ON hold(event) WHERE event IS NOT NULL;`;
