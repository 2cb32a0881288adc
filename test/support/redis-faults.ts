import { EngramError } from "../../src/errors.ts";
import type { Store } from "../../src/store/store.ts";

/** What it fails with, and after how long. */
export const faultOf = async (
  call: Promise<unknown>,
): Promise<EngramError & { afterMs: number }> => {
  const startMs = performance.now();
  try {
    await call;
  } catch (error) {
    if (error instanceof EngramError)
      return Object.assign(error, { afterMs: performance.now() - startMs });
    throw error;
  }
  throw new Error("it did not fail");
};
/** Resolves when the store is served again. */
export const served = async (store: Store): Promise<void> => {
  for (;;)
    try {
      return await store.probe();
    } catch {
      await Bun.sleep(20);
    }
};
