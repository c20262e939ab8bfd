import type { AdminResult } from "../../../src/objects/admin.ts";
import type {
  AcceptSignalAnswer,
  AcceptSignalMessage,
  RefusedSignalMessage,
  SignalSource,
  SignalsRpc,
  SignalStreamView,
} from "../../../src/objects/signals.ts";

/** The signals part of a TrustAuthority in memory: takes what it is sent. The real one: test/unit/durable-objects. */
export class MemorySignals implements SignalsRpc {
  readonly sources = new Map<string, SignalSource>();
  readonly signals: AcceptSignalMessage[] = [];
  readonly refusals: RefusedSignalMessage[] = [];
  /** Answers in this order, then `ok`. */
  readonly answers: AcceptSignalAnswer[] = [];

  async registerStream(): Promise<AdminResult<SignalStreamView>> {
    return { ok: false, code: "conflict", message: "another issuer's" };
  }
  async listStreams() {
    return [];
  }
  async readStream(): Promise<AdminResult<SignalStreamView>> {
    return { ok: false, code: "not_found", message: "no such stream" };
  }
  async removeStream(): Promise<AdminResult<SignalStreamView>> {
    return { ok: false, code: "not_found", message: "no such stream" };
  }
  async signalSource(id: string) {
    return this.sources.get(id) ?? null;
  }
  async acceptSignal(message: AcceptSignalMessage): Promise<AcceptSignalAnswer> {
    this.signals.push(message);
    return this.answers.shift() ?? { ok: true };
  }
  async refusedSignal(message: RefusedSignalMessage) {
    this.refusals.push(message);
  }
}
