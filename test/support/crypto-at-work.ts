import { vi } from "vitest";

/**
 * Counts what WebCrypto is at: it works on other threads, in real time, also where a test moves the clock. Ends with
 * `vi.restoreAllMocks()`.
 *
 * @returns waits until nothing is at work but what waits for a time.
 */
export function watchCrypto(): () => Promise<void> {
  let busy = 0;
  for (const name of ["sign", "verify", "importKey", "exportKey", "generateKey", "encrypt", "decrypt"] as const) {
    const work = crypto.subtle[name].bind(crypto.subtle) as never as (...all: unknown[]) => Promise<unknown>;
    vi.spyOn(crypto.subtle, name).mockImplementation((async (...all: unknown[]) => {
      busy++;
      try {
        return await work(...all);
      } finally {
        busy--;
      }
    }) as never);
  }
  return async () => {
    for (let still = 0; still < 4; still++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (busy > 0) still = 0;
    }
  };
}
