/**
 * What opened runs keep (docs/runs.md, docs/storage.md). Nothing here belongs to an implicit run. A step is named by
 * the `sseq` of its record; subjects stand here as tags (`subject-tags`), keys as pseudonyms.
 */
export const RUN_STEP = `
  CREATE TABLE run_plan(run TEXT PRIMARY KEY, plan TEXT, digest TEXT, budgets TEXT NOT NULL, labels TEXT NOT NULL,
    above TEXT, above_sseq INTEGER) STRICT, WITHOUT ROWID;
  CREATE TABLE run_step(sseq INTEGER PRIMARY KEY, run TEXT NOT NULL, id TEXT NOT NULL, node TEXT, standing INTEGER NOT NULL,
    outcome TEXT, t_ms INTEGER NOT NULL, homes TEXT NOT NULL, sums TEXT NOT NULL) STRICT;
  CREATE INDEX run_step_node ON run_step(run, node, standing, sseq) WHERE node IS NOT NULL;
  CREATE TABLE run_edge(parent INTEGER NOT NULL, child INTEGER NOT NULL, PRIMARY KEY(parent, child)) STRICT, WITHOUT ROWID;
  CREATE INDEX run_edge_up ON run_edge(child, parent);
  CREATE TABLE run_key(name TEXT PRIMARY KEY, no INTEGER NOT NULL, kind TEXT NOT NULL, home TEXT) STRICT, WITHOUT ROWID;
  CREATE TABLE run_dependency(no INTEGER NOT NULL, sseq INTEGER NOT NULL, PRIMARY KEY(no, sseq)) STRICT, WITHOUT ROWID;
  CREATE TABLE run_mark(sseq INTEGER NOT NULL, no INTEGER NOT NULL, direct INTEGER NOT NULL,
    PRIMARY KEY(sseq, no)) STRICT, WITHOUT ROWID;
  CREATE INDEX run_mark_key ON run_mark(no, sseq);
  CREATE TABLE run_unmarked(name TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
  CREATE TABLE run_sum(key TEXT NOT NULL, t_ms INTEGER NOT NULL, sseq INTEGER NOT NULL, count INTEGER NOT NULL,
    total TEXT NOT NULL, PRIMARY KEY(key, t_ms, sseq)) STRICT, WITHOUT ROWID;
  CREATE TABLE run_delegation(run TEXT NOT NULL, id TEXT NOT NULL, delegate TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY(run, id)) STRICT, WITHOUT ROWID;
  CREATE INDEX run_delegation_to ON run_delegation(run, delegate);
  CREATE TABLE run_approval(run TEXT NOT NULL, scope TEXT NOT NULL, id TEXT NOT NULL, expires_ms INTEGER NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY(run, scope, id)) STRICT, WITHOUT ROWID;`;

/** A key's names by its number: where its marks are made and told. */
export const RUN_KEY_STEP = `CREATE INDEX run_key_no ON run_key(no, name);`;

/**
 * Steps in other regions (docs/passes.md). `run_guest`: passes that this shard gave, a row beside the one in `run_step`.
 * `guest_pass`: passes of other regions, and the newest that was decided under each.
 */
export const RUN_GUEST = `
  CREATE TABLE run_guest(sseq INTEGER PRIMARY KEY, run TEXT NOT NULL, pass TEXT NOT NULL UNIQUE, region TEXT NOT NULL,
    state TEXT NOT NULL, said TEXT) STRICT;
  CREATE TABLE guest_pass(pass TEXT PRIMARY KEY, sseq INTEGER NOT NULL, allowed INTEGER NOT NULL,
    claims TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE INDEX guest_pass_sseq ON guest_pass(sseq);`;
