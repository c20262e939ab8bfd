/**
 * What a command tells a person when it cannot go on: what was wrong and where, then what to do about it. Anything
 * else that is thrown is a bug and keeps its stack.
 */
export class Problem extends Error {
  /** The next thing to do, one sentence. */
  readonly todo: string;
  /** 1: the thing asked for failed; 2: the command was given something it cannot use. */
  readonly exitCode: 1 | 2;

  constructor(message: string, todo: string, exitCode: 1 | 2 = 1) {
    super(message);
    this.name = "Problem";
    this.todo = todo;
    this.exitCode = exitCode;
  }
}

export const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));

/** `ENOENT`, `EADDRINUSE` …, where the error carries one. */
export const codeOf = (cause: unknown): string | undefined =>
  cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : undefined;

/** It did not answer, or said that it cannot now (5xx): the same may succeed later. */
export class Unreachable extends Problem {}
