import { DatabaseSync, type SQLInputValue } from "node:sqlite";

/**
 * Enough of `DurableObjectStorage` over `node:sqlite` that `Log` and `Shard` run in Node, with a crash at any storage
 * call. As in a Durable Object, what is written is visible at once and durable from the next `sync` on: everything
 * between two of them is one transaction here, and a crash may lose it or not.
 */
export type Crash =
  /** The process dies, and what was not synced is lost. */
  | "lost"
  /** The process dies, and what was written had reached the disk by then. */
  | "kept"
  /** The call fails once; the object lives on. */
  | "once";

class Crashed extends Error {}

type Row = Record<string, unknown>;

export class FakeStorage {
  readonly #db = new DatabaseSync(":memory:");
  #open = false;
  #dead = false;
  #life = 0;
  #depth = 0;
  #crash: { readonly at: number; readonly how: Crash } | null = null;
  #calls = 0;
  onCrash: () => void = () => undefined;
  /** Unix milliseconds; whoever rings it sets it to null first. */
  alarm: number | null = null;

  /** Storage calls so far. */
  get calls(): number {
    return this.#calls;
  }
  get dead(): boolean {
    return this.#dead;
  }

  /** The `at`-th call from the first of this storage throws. */
  crashAt(at: number, how: Crash): void {
    this.#crash = { at, how };
  }

  /** Ends the process: every later call of the objects that are attached throws. */
  kill(how: Crash): void {
    this.#dead = true;
    this.#life++;
    if (this.#open) this.#db.exec(how === "lost" ? "ROLLBACK" : "COMMIT");
    this.#open = false;
    this.#depth = 0;
  }

  /** For a new process. */
  revive(): void {
    this.#dead = false;
    this.#crash = null;
  }

  #call(): void {
    if (this.#dead) throw new Crashed("the process is dead");
    this.#calls++;
    if (this.#crash?.at !== this.#calls) return;
    const { how } = this.#crash;
    this.#crash = null;
    if (how !== "once") {
      // What a transaction has written is lost with it, whatever the disk has of the rest.
      if (this.#depth > 0) this.#db.exec("ROLLBACK TO turn; RELEASE turn");
      this.kill(how);
      this.onCrash();
    }
    throw new Crashed(`storage call ${this.#calls}`);
  }

  #begin(): void {
    if (this.#open) return;
    this.#db.exec("BEGIN");
    this.#open = true;
  }

  /** For one object: what a process that died still tries to do later fails, also after `revive`. */
  attach(): DurableObjectStorage {
    const life = this.#life;
    const alive = (): void => {
      if (life !== this.#life) throw new Crashed("the process is dead");
      this.#call();
    };
    const storage = {
      sql: {
        exec: (query: string, ...bindings: readonly (SQLInputValue | ArrayBuffer)[]): Cursor => {
          alive();
          return this.#exec(query, bindings);
        },
      },
      transactionSync: <T>(turn: () => T): T => {
        alive();
        return this.#transaction(turn);
      },
      sync: async (): Promise<void> => {
        alive();
        if (this.#open) this.#db.exec("COMMIT");
        this.#open = false;
        await new Promise((resolve) => setImmediate(resolve));
        if (life !== this.#life) throw new Crashed("the process is dead");
      },
      getAlarm: async (): Promise<number | null> => this.alarm,
      setAlarm: async (t_ms: number): Promise<void> => {
        alive();
        this.alarm = t_ms;
      },
    };
    // The objects use no more of the platform's type than this.
    return storage as unknown as DurableObjectStorage;
  }

  #exec(query: string, bindings: readonly (SQLInputValue | ArrayBuffer)[]): Cursor {
    this.#begin();
    if (bindings.length === 0 && /;\s*\S/.test(query)) {
      this.#db.exec(query);
      return new Cursor([]);
    }
    const values = bindings.map((value) => (value instanceof ArrayBuffer ? new Uint8Array(value) : value));
    return new Cursor(
      this.#db
        .prepare(query)
        .all(...values)
        .map(asRow),
    );
  }

  #transaction<T>(turn: () => T): T {
    this.#begin();
    this.#db.exec("SAVEPOINT turn");
    this.#depth++;
    const life = this.#life;
    try {
      const result = turn();
      this.#db.exec("RELEASE turn");
      return result;
    } catch (cause) {
      if (life === this.#life) this.#db.exec("ROLLBACK TO turn; RELEASE turn");
      throw cause;
    } finally {
      this.#depth = 0;
    }
  }
}

/** Blobs come as `ArrayBuffer`, as from the platform. */
const asRow = (row: Row): Row =>
  Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, value instanceof Uint8Array ? value.slice().buffer : value]),
  );

class Cursor implements Iterable<Row> {
  readonly #rows: readonly Row[];
  constructor(rows: readonly Row[]) {
    this.#rows = rows;
  }
  toArray(): readonly Row[] {
    return this.#rows;
  }
  one(): Row {
    if (this.#rows.length !== 1) throw new Error(`${this.#rows.length} rows`);
    return this.#rows[0]!;
  }
  [Symbol.iterator](): Iterator<Row> {
    return this.#rows[Symbol.iterator]();
  }
}
