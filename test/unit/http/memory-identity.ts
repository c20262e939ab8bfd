import type { AdminResult } from "../../../src/objects/admin.ts";
import type { IdentityRpc, PutSourceMessage, QuarantineMessage, SourceView } from "../../../src/objects/identity.ts";
import { MemorySignals } from "./memory-signals.ts";

/** Registered sources in memory: what was put is there, and is not judged. */
export abstract class MemoryIdentity extends MemorySignals implements IdentityRpc {
  readonly registered: SourceView[] = [];
  readonly quarantined: QuarantineMessage[] = [];

  async putSource({ kind, id, body }: PutSourceMessage): Promise<AdminResult<SourceView>> {
    const view: SourceView = {
      kind,
      id,
      version: "v1",
      registered_at_ms: 0,
      rules: { ...body },
      keys: [],
      sequence: null,
      document: null,
      state: "fresh",
      fresh_until_ms: null,
      fetched_at_ms: null,
      asked_ms: null,
      problem: null,
    };
    await this.removeSource(kind, id);
    this.registered.push(view);
    return { ok: true, value: view };
  }
  async listSources(): Promise<readonly SourceView[]> {
    return this.registered;
  }
  async readSource(kind: string, id: string): Promise<AdminResult<SourceView>> {
    const found = this.registered.find((one) => one.kind === kind && one.id === id);
    return found === undefined
      ? { ok: false, code: "not_found", message: "none is registered" }
      : { ok: true, value: found };
  }
  async removeSource(kind: string, id: string): Promise<AdminResult<SourceView>> {
    const found = await this.readSource(kind, id);
    if (found.ok) this.registered.splice(this.registered.indexOf(found.value), 1);
    return found;
  }
  async quarantine(message: QuarantineMessage): Promise<void> {
    this.quarantined.push(message);
  }
}
