import type { SyncAnswer } from "../../src/objects/peers.ts";
import { base64url } from "../../src/base/bytes.ts";
import { isObject, parseJson, type JsonValue } from "../../src/base/json.ts";
import type { Effect } from "../../src/sync/effects.ts";
import type { RequestBody, VerdictBody } from "../../src/sync/messages.ts";
import type { PolicyStatement } from "../../src/policy/drift.ts";
import { serves, speaksFor } from "../../src/sync/view.ts";
import type { OriginEntry } from "../../src/trust/merge.ts";
import type { StatedState } from "../../src/trust/state-statement.ts";
import { randomBytes } from "../platform.ts";
import type { Standing } from "./standing.ts";
import { MAX_MESSAGE_CHARS, type SyncMessages } from "./sync-messages.ts";
import type { RegionSync, Reply } from "./sync.ts";

type Pull = Extract<Effect, { type: "pull" }>;

/** A page is a megabyte and not urgent. */
const PAGE_MS = 10_000;
const CONTENT_TYPE = "application/jose";

/** Signed HTTPS between this region's authority and its peers': what leaves, and what comes (docs/sync.md). */
export class Links {
  readonly #messages: SyncMessages;
  readonly #sync: RegionSync;
  readonly #standing: Standing;
  readonly #send: typeof fetch;
  readonly #timeout_ms: () => number;
  /** Takes a membership that a peer serves; it is verified like one that an operator brings. */
  readonly #putMembership: (jws: unknown) => Promise<unknown>;

  constructor(
    messages: SyncMessages,
    sync: RegionSync,
    standing: Standing,
    send: typeof fetch,
    putMembership: (jws: unknown) => Promise<unknown>,
  ) {
    this.#messages = messages;
    this.#sync = sync;
    this.#standing = standing;
    this.#send = send;
    this.#putMembership = putMembership;
    this.#timeout_ms = () => sync.timeout_ms;
  }

  // ── what leaves ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Sends a pull; whatever comes of it is fed to the core. */
  pull({ to, body }: Pull): void {
    const failed = (): void => {
      try {
        this.#sync.feed({ type: "failed", from: to, nonce: body.nonce });
      } catch {
        // Nobody waits for this. The step has said what failed; or this object is dead, and another asks anew.
      }
    };
    void this.#messages
      .seal("pull", to, body)
      .then((text) => this.#post(to, "pull", text))
      .then(async (answer) => {
        if (answer === null) return failed();
        return body.origin === undefined ? this.#head(to, answer, failed) : this.#relay(to, answer, body, failed);
      })
      .catch(failed);
  }

  async #head(to: string, answer: string, failed: () => void): Promise<void> {
    const message = await this.#messages.open("head", answer);
    if (message?.from !== to) {
      if (this.#messages.stranger(answer) === to) this.#sync.feed({ type: "unknown_key", from: to });
      return failed();
    }
    const { events: sets, snapshot: signed, ...body } = message.body;
    const events = await this.#messages.events(to, sets);
    const snapshot = signed === undefined ? null : await this.#messages.manifest(to, signed);
    if (signed !== undefined && snapshot === null) return failed();
    this.#sync.feed({ type: "head", head: { ...message, body, events, snapshot } });
  }

  /** One page of an origin's snapshot; `null` where it does not come. */
  async page(to: string, body: Pull["body"], page: number): Promise<readonly OriginEntry[] | null> {
    const text = await this.#messages.seal("pull", to, { ...body, page });
    const answer = await this.#post(to, "pull", text, PAGE_MS);
    const message = answer === null ? null : await this.#messages.open("page", answer);
    if (message?.from !== to || message.body.nonce !== body.nonce || message.body.page !== page) return null;
    return message.body.entries;
  }

  async #relay(to: string, answer: string, { nonce, origin }: Pull["body"], failed: () => void): Promise<void> {
    const message = await this.#messages.open("relay", answer);
    if (message?.from !== to || message.body.nonce !== nonce || message.body.origin !== origin) return failed();
    const { events: sets, more } = message.body;
    const events = await this.#messages.events(origin, sets);
    this.#sync.feed({ type: "relay", from: to, nonce, origin: origin, events, more });
  }

  /** For speed only: nobody waits, and a loss is made good by the next pull. */
  push(to: string, sets: readonly string[]): void {
    if (sets.length === 0) return;
    void this.#messages
      .seal("push", to, { events: [...sets] })
      .then((text) => this.#post(to, "push", text))
      .catch(() => undefined);
  }

  /** Asks the home of a key for the same; `null` where no answer comes that the home signed for this request. */
  async request(to: string, body: Omit<RequestBody, "v" | "iss" | "aud">): Promise<VerdictBody["verdict"] | null> {
    try {
      const answer = await this.#post(to, "request", await this.#messages.seal("request", to, body));
      const message = answer === null ? null : await this.#messages.open("verdict", answer);
      if (message === null || message.from !== to || !this.#speaks(message)) return null;
      return message.body.nonce === body.nonce && message.body.id === body.id ? message.body.verdict : null;
    } catch {
      return null;
    }
  }

  /** What decides at a peer; `null` where no answer comes that it signed for this question. */
  async policy(
    to: string,
    digest: string,
    timeout_ms: number,
  ): Promise<{ statement: PolicyStatement; jws: string } | null> {
    try {
      const nonce = base64url(randomBytes(16));
      const answer = await this.#post(
        to,
        "policy",
        await this.#messages.seal("policy_ask", to, { nonce, digest }),
        timeout_ms,
      );
      const message = answer === null ? null : await this.#messages.open("policy", answer);
      if (message === null || message.from !== to || !this.#speaks(message)) return null;
      return message.body.nonce === nonce ? { statement: message.body.statement, jws: message.jws } : null;
    } catch {
      return null;
    }
  }

  /** Tells a peer what is held here of each origin, and what it says; `null` where it does not. */
  async state(
    to: string,
    states: readonly StatedState[],
  ): Promise<{ readonly states: readonly StatedState[]; readonly jws: string } | null> {
    try {
      const nonce = base64url(randomBytes(16));
      const text = await this.#messages.seal("state_ask", to, { nonce, states: [...states] });
      const answer = await this.#post(to, "state", text);
      const message = answer === null ? null : await this.#messages.open("state", answer);
      if (message === null || message.from !== to || !this.#speaks(message)) return null;
      return message.body.nonce === nonce ? { states: message.body.states, jws: message.jws } : null;
    } catch {
      return null;
    }
  }

  /** Who is a member, serves, and was not distrusted since. */
  #speaks({ from, kid }: { readonly from: string; readonly kid: string }): boolean {
    const region = this.#sync.state.view.regions[from];
    return region !== undefined && serves(region) && speaksFor(region, kid);
  }

  async #post(
    to: string,
    kind: "pull" | "push" | "request" | "policy" | "state",
    text: string,
    timeout_ms = this.#timeout_ms(),
  ): Promise<string | null> {
    const endpoint = this.#endpoint(to);
    if (endpoint === null) return null;
    const response = await this.#send(`${endpoint}/sync/v1/${kind}`, {
      method: "POST",
      headers: { "Content-Type": CONTENT_TYPE },
      body: text,
      redirect: "manual",
      signal: AbortSignal.timeout(timeout_ms),
    });
    const answer = await bounded(response);
    return response.status === 200 ? answer : null;
  }

  #endpoint(region: string): string | null {
    return this.#standing.membership?.regions.find((member) => member.region === region)?.endpoint ?? null;
  }

  fetchMembership(from: string): void {
    const endpoint = this.#endpoint(from);
    if (endpoint === null) return;
    this.#membership(endpoint).catch(() => undefined);
  }

  async #membership(endpoint: string): Promise<void> {
    // In pages, oldest first; where the newest is on a later one, the core asks again.
    const after = this.#standing.membership?.version ?? 0;
    const response = await this.#send(`${endpoint}/.well-known/interlock/membership?after=${after}`, {
      redirect: "manual",
      signal: AbortSignal.timeout(this.#timeout_ms()),
    });
    const text = await bounded(response);
    const json = response.status === 200 && text !== null ? parseJson(text) : null;
    const listed = json?.ok === true && isObject(json.value) ? json.value["memberships"] : null;
    const newest = Array.isArray(listed) ? (listed.at(-1) as JsonValue | undefined) : undefined;
    if (newest !== undefined && isObject(newest)) await this.#putMembership(newest["jws"]);
  }

  // ── what comes ──────────────────────────────────────────────────────────────────────────────────────────────────

  async answerPull(text: string): Promise<SyncAnswer> {
    const pull = await this.#messages.open("pull", text);
    if (pull === null) return this.#refused(text);
    const { v: _v, iss: _iss, aud: _aud, ...body } = pull.body;
    const reply = this.#sync.asked({ type: "pull", pull: { ...pull, body } });
    return reply.kind === "refused" ? { status: 403, body: reply.code } : this.#answer(pull.from, reply);
  }

  async #answer(to: string, reply: Exclude<Reply, { kind: "refused" }>): Promise<SyncAnswer> {
    if (reply.kind === "head") {
      const snapshot = reply.snapshot === null ? {} : { snapshot: reply.snapshot };
      const body = await this.#messages.seal("head", to, { ...reply.body, events: [...reply.events], ...snapshot });
      return { status: 200, body };
    }
    if (reply.kind === "page") {
      const { nonce, page, entries } = reply;
      return { status: 200, body: await this.#messages.seal("page", to, { nonce, page, entries: [...entries] }) };
    }
    const { kind: _, events, ...body } = reply;
    return { status: 200, body: await this.#messages.seal("relay", to, { ...body, events: [...events] }) };
  }

  async takePush(text: string): Promise<SyncAnswer> {
    const push = await this.#messages.open("push", text);
    if (push === null) return this.#refused(text);
    const events = await this.#messages.events(push.from, push.body.events);
    if (events === null) return this.#refused(null);
    this.#sync.feed({ type: "push", from: push.from, events });
    return { status: 202, body: "" };
  }

  /** `take` says what this region makes of it; `null` where it takes no more. */
  async answerRequest(
    text: string,
    take: (from: string, body: RequestBody) => VerdictBody["verdict"] | null,
  ): Promise<SyncAnswer> {
    const request = await this.#messages.open("request", text);
    if (request === null) return this.#refused(text);
    if (!this.#speaks(request)) return { status: 403, body: "not_served" };
    if (!this.#messages.canLookUp(request.body.key)) return { status: 403, body: "unknown_secret" };
    const verdict = take(request.from, request.body);
    if (verdict === null) return { status: 403, body: "too_many_requests" };
    const { id, nonce } = request.body;
    return { status: 200, body: await this.#messages.seal("verdict", request.from, { id, nonce, verdict }) };
  }

  /** `own`: this region's statement; who asks says the digest of its own, which `hears` is told. */
  async answerPolicy(
    text: string,
    own: () => PolicyStatement | null,
    hears: (from: string, digest: string) => void,
  ): Promise<SyncAnswer> {
    const ask = await this.#messages.open("policy_ask", text);
    if (ask === null) return this.#refused(text);
    if (!this.#speaks(ask)) return { status: 403, body: "not_served" };
    const { nonce, digest } = ask.body;
    hears(ask.from, digest);
    const statement = own();
    if (statement === null) return { status: 403, body: "no_statement" };
    return {
      status: 200,
      body: await this.#messages.seal("policy", ask.from, {
        nonce,
        statement: { ...statement, packs: [...statement.packs] },
      }),
    };
  }

  /** `hears` what a peer holds; `own`: what is held here. */
  async answerState(
    text: string,
    own: () => readonly StatedState[],
    hears: (from: string, states: readonly StatedState[], jws: string) => void,
  ): Promise<SyncAnswer> {
    const ask = await this.#messages.open("state_ask", text);
    if (ask === null) return this.#refused(text);
    if (!this.#speaks(ask)) return { status: 403, body: "not_served" };
    const states = [...own()];
    hears(ask.from, ask.body.states, ask.jws);
    return { status: 200, body: await this.#messages.seal("state", ask.from, { nonce: ask.body.nonce, states }) };
  }

  #refused(text: string | null): SyncAnswer {
    const from = text === null ? null : this.#messages.stranger(text);
    this.#sync.feed(from === null ? { type: "bad_signature" } : { type: "unknown_key", from });
    return { status: 400, body: "not a message of a member of this federation for this region" };
  }
}

/** `null` where the body is longer than any message. */
async function bounded(response: Response): Promise<string | null> {
  const length = Number(response.headers.get("content-length") ?? "0");
  if (length > MAX_MESSAGE_CHARS || response.body === null) return null;
  const reader = response.body.getReader();
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    text += decoder.decode(value, { stream: true });
    if (text.length > MAX_MESSAGE_CHARS) {
      await reader.cancel();
      return null;
    }
  }
}
