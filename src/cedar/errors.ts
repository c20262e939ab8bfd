/**
 * Why an expression has no value for one request: a type error, a missing attribute or entity, an overflow.
 *
 * Thrown inside the room only; `authorize` turns it into `{ policyId, message }`. It is deliberately no `Error`:
 * capturing a stack costs more than evaluating a policy, and a request can make many policies fail at once.
 */
export class EvaluationError {
  readonly message: string;

  constructor(message: string) {
    this.message = message;
  }
}

/** Why a document (policy, entity, value) is refused before any request is seen. Never leaves the room. */
export class InputError extends Error {
  override readonly name = "InputError";
}

/** Runs a reader that may throw `InputError` and returns its message as a value; any other exception is a bug. */
export function attempt<T>(read: () => T): { ok: true; value: T } | { ok: false; message: string } {
  try {
    return { ok: true, value: read() };
  } catch (cause) {
    if (cause instanceof InputError) return { ok: false, message: cause.message };
    throw cause;
  }
}
