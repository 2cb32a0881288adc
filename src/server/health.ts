import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import type { Clock } from "../clock.ts";
import {
  type Health,
  type HealthCheckRequest,
  HealthCheckResponse_ServingStatus as Status,
} from "../gen/grpc/health/v1/health_pb.ts";
import { serverLimits } from "../limits.ts";
import { askReady } from "./readiness.ts";

type HealthOptions = {
  readonly ready: () => Promise<string | null>;
  /** Full names; their health is the server's. */
  readonly services: () => readonly string[];
  readonly clock: Clock;
};

export type HealthService = {
  readonly implementation: ServiceImpl<typeof Health>;
  /** From now on NOT_SERVING; watchers are told at once, and their calls end. */
  readonly stop: () => void;
};

/** grpc.health.v1. Readiness has no event of its own, so it is asked again while somebody watches, once for all. */
export const makeHealth = ({ ready, services, clock }: HealthOptions): HealthService => {
  let watchers = 0;
  let stopped = false;
  let seen: Status = Status.UNKNOWN;
  let changed = Promise.withResolvers<void>();
  let cancelLook: (() => void) | null = null;

  const check = async (): Promise<Status> => {
    const reason = stopped ? "stopping" : await askReady(ready, clock);
    return reason === null && !stopped ? Status.SERVING : Status.NOT_SERVING;
  };
  const announce = (status: Status): void => {
    if (status === seen) return;
    seen = status;
    changed.resolve();
    changed = Promise.withResolvers<void>();
  };
  const checkLater = (): void => {
    cancelLook ??= clock.after(serverLimits.healthIntervalMs, () => {
      cancelLook = null;
      if (watchers > 0 && !stopped) void check().then(announce).then(checkLater);
    });
  };
  const known = (service: string): boolean => service === "" || services().includes(service);

  const watch = async function* (
    { service }: HealthCheckRequest,
    { signal }: HandlerContext,
  ): AsyncGenerator<{ status: Status }> {
    if (watchers >= serverLimits.healthWatchersMax) {
      throw new ConnectError("too many health watchers: try again later", Code.ResourceExhausted);
    }
    watchers += 1;
    const aborted = new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    try {
      announce(await check());
      checkLater();
      for (let sent: Status | null = null; !signal.aborted;) {
        // Taken before the look, so that no change falls in between.
        const { promise } = changed;
        const status = known(service) ? seen : Status.SERVICE_UNKNOWN;
        if (status !== sent) yield { status };
        sent = status;
        if (stopped) return;
        await Promise.race([promise, aborted]);
      }
    } finally {
      watchers -= 1;
    }
  };
  return {
    implementation: {
      check: async ({ service }) => {
        if (known(service)) return { status: await check() };
        throw new ConnectError(`there is no service ${service} here`, Code.NotFound);
      },
      watch,
    },
    stop: () => {
      stopped = true;
      cancelLook?.();
      cancelLook = null;
      announce(Status.NOT_SERVING);
    },
  };
};
