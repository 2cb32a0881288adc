import { ErrorReply } from "redis";
import { EngramError, messageOf } from "../../errors.ts";
import { LineDown } from "./line.ts";

/** What to do about answers that say why Redis does not take a command just now. */
const advice: Readonly<Record<string, string>> = {
  OOM: "its memory is full: raise maxmemory, or delete agents",
  NOREPLICAS: "too few of its replicas are connected",
  READONLY: "it is a replica; another server has become the master",
  MASTERDOWN: "its master cannot be reached",
  MISCONF: "it cannot write to its disk: free the disk or mend it",
  LOADING: "it is still loading its data",
  BUSY: "it is busy with another program's script",
  CLUSTERDOWN: "the Cluster lacks some of its servers",
  TRYAGAIN: "the Cluster is moving the agent to another server",
  MOVED: "the Cluster's servers do not agree which of them has the agent",
  ASK: "the Cluster is moving the agent to another server",
  NOAUTH: "it wants a password: set one in REDIS_URL",
  WRONGPASS: "it refuses the user or password in REDIS_URL",
  NOPERM: "the user in REDIS_URL may not do this",
};

/** The word with which an answered error begins; "" of any other failure. */
export const replyCode = (error: unknown): string =>
  error instanceof ErrorReply ? (/^[A-Z]+/.exec(error.message)?.[0] ?? "") : "";

const adviceFor = (error: unknown): string | undefined => advice[replyCode(error)];

/** Whether Redis does not let this engine in, which no waiting mends. */
export const isRefusal = ({ cause }: EngramError): boolean =>
  ["NOAUTH", "WRONGPASS", "NOPERM"].includes(replyCode(cause));

/** What a failure means to the store's caller. */
export function redisFault(error: unknown): EngramError {
  if (error instanceof EngramError) return error;
  // Why a server that answers is not used.
  if (error instanceof LineDown && (error.cause instanceof EngramError || adviceFor(error.cause)))
    return redisFault(error.cause);
  const what = adviceFor(error);
  if (what !== undefined)
    return new EngramError("unavailable", `Redis does not serve the store: ${what}`, {
      cause: error,
      transient: true,
    });
  if (error instanceof LineDown)
    return new EngramError(
      "unavailable",
      error.sent
        ? `Redis did not answer (${error.message}), so what was asked for may have been done or not: look, or ask again`
        : `Redis cannot be reached (${error.message}); try again later`,
      { cause: error, transient: true },
    );
  return new EngramError("internal", `Redis refused a command of the store: ${messageOf(error)}`, {
    cause: error,
  });
}
