/** Rejects where there is no answer within `ms`; what was asked may still be carried out. */
export async function withDeadline<T>(promise: Promise<T>, ms: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
    });
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Once more with a new stub, for reads (docs/object-rpc.md). */
export async function twice<T>(ms: number, call: () => Promise<T>): Promise<T> {
  try {
    return await withDeadline(call(), ms);
  } catch {
    return await withDeadline(call(), ms);
  }
}
