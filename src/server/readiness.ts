import type { Clock } from "../clock.ts";
import { messageOf } from "../errors.ts";
import { serverLimits } from "../limits.ts";

/** null: ready; else why not. Never rejects, and answers within `readyTimeoutMs` whatever `ready` does. */
export const askReady = async (
  ready: () => Promise<string | null>,
  clock: Clock,
): Promise<string | null> =>
  new Promise((resolve) => {
    const cancel = clock.after(serverLimits.readyTimeoutMs, () =>
      resolve(`the readiness check did not answer within ${serverLimits.readyTimeoutMs / 1000} s`),
    );
    const settle = (reason: string | null): void => {
      cancel();
      resolve(reason);
    };
    ready().then(settle, (error: unknown) => settle(messageOf(error)));
  });
