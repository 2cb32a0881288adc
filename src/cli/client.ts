import type { DescService } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { EngramError, messageOf } from "../errors.ts";
import { clientLimits } from "./cli-limits.ts";
import type { ClientSettings } from "./settings.ts";
import { oneLine } from "./tool-text.ts";

/**
 * Does a command's work with a client of the engine's `service`, and lets go of the connection. What the engine refuses
 * fails as failed_precondition in its own words, an engine that cannot be reached as unavailable; each is one line.
 */
export async function withEngine<S extends DescService, T>(
  { url, apiKey }: ClientSettings,
  service: S,
  work: (client: Client<S>) => Promise<T>,
): Promise<T> {
  const { pingIntervalMs, pingTimeoutMs } = clientLimits;
  const sessionManager = new Http2SessionManager(url, { pingIntervalMs, pingTimeoutMs });
  const transport = createGrpcTransport({
    baseUrl: url,
    sessionManager,
    interceptors: [
      (next) => (request) => {
        if (apiKey !== null) request.header.set("x-api-key", apiKey);
        return next(request);
      },
    ],
  });
  try {
    // An engine that was never there is not waited for, whatever the work does about one that goes away.
    if ((await sessionManager.connect()) === "error")
      throw cannotReach(url, sessionManager.error());
    return await work(createClient(service, transport));
  } catch (error) {
    throw error instanceof ConnectError ? failureOf(error, url) : error;
  } finally {
    sessionManager.abort();
  }
}

function failureOf(error: ConnectError, url: string): EngramError {
  // A status of its own is the engine's word; without one nobody has answered, or the connection broke.
  if (error.metadata.has("grpc-status"))
    return new EngramError("failed_precondition", oneLine(error.rawMessage), { cause: error });
  return cannotReach(url, error);
}

function cannotReach(url: string, cause: unknown): EngramError {
  const reason = cause instanceof ConnectError ? (cause.cause ?? cause.rawMessage) : cause;
  const message = `cannot reach ${url}: ${oneLine(messageOf(reason))}`;
  return new EngramError("unavailable", message, { cause });
}

/** Whether a call failed since the connection broke or the engine is stopping: what else it refuses with a status is an answer. */
export function isAway(error: unknown): boolean {
  if (!(error instanceof ConnectError)) return false;
  if (error.code === Code.Unavailable) return true;
  const broken = [Code.Canceled, Code.Aborted, Code.Internal, Code.Unknown];
  return broken.includes(error.code) && !error.metadata.has("grpc-status");
}

/** Makes a call that may be made twice again and again while the engine is away, for a minute at most. */
export async function untilAnswered<T>(call: () => Promise<T>): Promise<T> {
  let endMs: number | null = null;
  for (let delayMs: number = clientLimits.retryMsFirst; ; delayMs = nextDelayMs(delayMs)) {
    try {
      return await call();
    } catch (error) {
      endMs ??= performance.now() + clientLimits.awayMsMax;
      if (!isAway(error) || performance.now() + delayMs > endMs) throw error;
      await Bun.sleep(delayMs);
    }
  }
}

/** Twice as long as the wait before, up to a bound. */
export const nextDelayMs = (delayMs: number): number =>
  Math.min(2 * delayMs, clientLimits.retryMsMax);
