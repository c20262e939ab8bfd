import { utf8 } from "../../../src/base/bytes.ts";
import type { HoldNews } from "../../../src/objects/permits.ts";
import type { Audience } from "./halts.ts";
import type { HoldRow } from "./rows.ts";

/** What one listener hears: of one run or one hold, and there only what is its own. Kept with a socket: ≤ 2 KiB. */
export type Listening = {
  readonly pep: string;
  readonly audiences: readonly string[];
  readonly run: string | null;
  readonly hold: string | null;
  /** Its credential ends, Unix milliseconds; and the canonical keys that it rests on. */
  readonly exp_ms: number;
  readonly keys: readonly string[];
};

/** What a hold tells to whom: those of its audience, and the PEP that asked for its step. */
export const hears = (
  who: Listening,
  { id, run, aud, asker }: Pick<HoldRow, "id" | "run" | "aud" | "asker">,
): boolean => (who.hold === id || who.run === run) && (who.audiences.includes(aud) || who.pep === asker);

export const MAX_LISTENERS = 256;
export const MAX_LISTENERS_OF_PEP = 32;
/** Events that wait for a slow reader; one more, and it is dropped. It comes back with the last number that it saw. */
const MAX_BACKLOG = 64;
const HEARTBEAT_MS = 15_000;
/** RFC 6455 section 7.4.1. */
const GOING_AWAY = 1001;
const POLICY_VIOLATION = 1008;

/** The platform's part of WebSockets that sleep with the object. */
export type Sockets = Pick<DurableObjectState, "acceptWebSocket" | "getWebSockets" | "setWebSocketAutoResponse">;

export type ListenerPorts = {
  /** `null`: there are none (a shard outside of the platform). */
  readonly sockets: Sockets | null;
  readonly now: () => number;
  /** Whether an entry stands against any of these keys. */
  readonly revoked: (keys: readonly string[]) => boolean;
};

type Stream = {
  readonly who: Listening;
  readonly controller: ReadableStreamDefaultController<Uint8Array>;
};

/** Listeners to halts, by Server-Sent Events and by WebSocket; a bounded number, and none that does not keep up. */
export class Listeners implements Audience {
  readonly #ports: ListenerPorts;
  readonly #streams = new Set<Stream>();
  #beat: ReturnType<typeof setInterval> | null = null;

  constructor(ports: ListenerPorts) {
    this.#ports = ports;
    ports.sockets?.setWebSocketAutoResponse(new WebSocketRequestResponsePair("ping", "pong"));
  }

  get count(): number {
    return this.#streams.size + this.#sockets().length;
  }

  /** Whether one more is taken from this PEP. */
  hasRoom(pep: string): boolean {
    const all = [...this.#streams].map(({ who }) => who.pep).concat(this.#sockets().map(({ who }) => who.pep));
    return all.length < MAX_LISTENERS && all.filter((name) => name === pep).length < MAX_LISTENERS_OF_PEP;
  }

  /** `missed`: what ended while it was away. */
  stream(who: Listening, missed: readonly Missed[]): ReadableStream<Uint8Array> {
    let stream: Stream | null = null;
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          stream = { who, controller };
          this.#streams.add(stream);
          this.#heartbeat();
          controller.enqueue(utf8(eventText("listening", { at: this.#ports.now() }, null)));
          for (const { news, event } of missed) controller.enqueue(utf8(eventText(news.event, news, event)));
        },
        cancel: () => {
          if (stream !== null) this.#drop(stream);
        },
      },
      { highWaterMark: MAX_BACKLOG + missed.length },
    );
  }

  socket(who: Listening, missed: readonly Missed[]): WebSocket {
    const { 0: client, 1: server } = new WebSocketPair();
    server.serializeAttachment(who);
    this.#ports.sockets?.acceptWebSocket(server);
    server.send(JSON.stringify({ event: "listening", at: this.#ports.now() }));
    for (const { news, event } of missed) server.send(messageText(news, event));
    return client;
  }

  tell(hold: HoldRow, news: HoldNews, event: number | null): void {
    for (const stream of this.#streams)
      if (hears(stream.who, hold) && this.#admits(stream.who)) this.#send(stream, eventText(news.event, news, event));
    for (const { who, socket } of this.#sockets()) {
      if (!hears(who, hold) || !this.#admits(who)) continue;
      try {
        socket.send(messageText(news, event));
      } catch {
        // It is closing; it comes back with the last number that it saw.
      }
    }
  }

  /** Nobody listens under a credential that has ended or was revoked. */
  look(): void {
    for (const stream of this.#streams) if (!this.#admits(stream.who)) this.#drop(stream);
    for (const { who, socket } of this.#sockets())
      if (!this.#admits(who)) close(socket, POLICY_VIOLATION, "the credential has ended");
  }

  #admits({ exp_ms, keys }: Listening): boolean {
    return this.#ports.now() < exp_ms && !this.#ports.revoked(keys);
  }

  #sockets(): readonly { readonly who: Listening; readonly socket: WebSocket }[] {
    return (this.#ports.sockets?.getWebSockets() ?? [])
      .filter(({ readyState }) => readyState === WebSocket.OPEN)
      .map((socket) => ({ who: socket.deserializeAttachment() as Listening, socket }));
  }

  #send(stream: Stream, text: string): void {
    if ((stream.controller.desiredSize ?? 0) <= 0) return this.#drop(stream);
    try {
      stream.controller.enqueue(utf8(text));
    } catch {
      this.#drop(stream);
    }
  }

  #drop(stream: Stream): void {
    this.#streams.delete(stream);
    if (this.#streams.size === 0 && this.#beat !== null) {
      clearInterval(this.#beat);
      this.#beat = null;
    }
    try {
      stream.controller.close();
    } catch {
      // The reader has gone already.
    }
  }

  #heartbeat(): void {
    this.#beat ??= setInterval(() => {
      this.look();
      // Nobody reads what was left behind: it fills up, and is dropped.
      for (const stream of this.#streams) this.#send(stream, ":\n\n");
    }, HEARTBEAT_MS);
  }

  /** The object is of a past epoch, or sealed: nothing will be told here any more. */
  close(reason: string): void {
    for (const stream of this.#streams) this.#drop(stream);
    for (const { socket } of this.#sockets()) close(socket, GOING_AWAY, reason);
  }
}

export type Missed = { readonly news: HoldNews; readonly event: number | null };

const eventText = (event: string, data: object, id: number | null): string =>
  `${id === null ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;

const messageText = (news: HoldNews, id: number | null): string => JSON.stringify(id === null ? news : { ...news, id });

function close(socket: WebSocket, code: number, reason: string): void {
  try {
    socket.close(code, reason);
  } catch {
    // Closed already.
  }
}
