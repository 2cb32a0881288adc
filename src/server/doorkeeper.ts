import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import type { Clock } from "../clock.ts";
import { Health } from "../gen/grpc/health/v1/health_pb.ts";
import { serverLimits } from "../limits.ts";
import type { Log } from "../log.ts";
import { makeKeyCheck, missingKeyMessage } from "./api-keys.ts";
import type { HttpRequest } from "./exchange.ts";
import { makeThrottledWarning } from "./log.ts";
import type { PortWatch } from "./watch.ts";

type DoorkeeperOptions = {
  readonly apiKeys: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
  readonly watch: PortWatch;
};

export type Doorkeeper = {
  readonly gate: (context: HandlerContext) => void;
  readonly hasKey: (request: HttpRequest) => boolean;
};

/** Who may call: with a key and while there is room; health is for all and always. */
export const makeDoorkeeper = (
  { apiKeys, clock, log, watch }: DoorkeeperOptions,
  calls: () => number,
): Doorkeeper => {
  const check = makeKeyCheck(apiKeys);
  const warn = makeThrottledWarning(log, clock);
  return {
    gate: (context) => {
      if (context.service.typeName === Health.typeName) return;
      if (!check((name) => context.requestHeader.get(name) ?? undefined)) {
        watch.refused("key");
        const path = `/${context.service.typeName}/${context.method.name}`;
        warn("a call without a valid API key was refused", { path });
        throw new ConnectError(missingKeyMessage, Code.Unauthenticated);
      }
      if (calls() > serverLimits.callsMax) {
        watch.refused("room");
        const message = `the server has ${serverLimits.callsMax} open calls: try again later`;
        throw new ConnectError(message, Code.ResourceExhausted);
      }
    },
    hasKey: ({ headers, url }) => {
      const header = (name: string): string | undefined => {
        const value = headers[name];
        return Array.isArray(value) ? value.join(", ") : value;
      };
      if (check(header)) return true;
      watch.refused("key");
      warn("a request without a valid API key was refused", { path: url?.split("?", 1)[0] });
      return false;
    },
  };
};
