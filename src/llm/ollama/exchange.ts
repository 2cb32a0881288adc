import { Ollama } from "ollama";
import type { JsonObject } from "../../agent/json.ts";
import type { EngramError } from "../../errors.ts";
import { failureOfEnd, type Subject } from "../failure.ts";
import type { HttpReply } from "../http.ts";
import { failureOfBytes, failureOfStatus } from "./failure.ts";
import { checkedLines } from "./lines.ts";
import {
  addressOf,
  fetchOver,
  serverUrl,
  type Protocol,
  type ServerSettings,
} from "../transport.ts";
import { startWatch } from "../watch.ts";

export type OllamaSettings = ServerSettings & {
  /** LLM_OPTIONS: merged into the server's options. */
  readonly options: JsonObject;
  /** Takes a line for the operator. */
  readonly log: (line: string) => void;
};

/** The requests of one call, which end together. */
export type Exchange = {
  readonly subject: Subject;
  readonly client: Ollama;
  /** The reply has grown: a server that only sends empty lines is not waited for without end. */
  readonly grew: () => void;
  /** What to throw for an error of the client's: an EngramError, or the reason of the abort behind it. */
  readonly failureOf: (error: unknown) => unknown;
  /** Ends what is still running, at the server too. */
  readonly close: () => void;
};

/** The configured address of an Ollama server. Fails with invalid_argument. */
export const ollamaUrl = (url: string): URL => serverUrl(url, "OLLAMA_URL");

/**
 * The ollama package over a transport that turns every fault into its EngramError before the package sees it (and
 * prints it). `whole` makes the body that is sent of the package's. Close it when the call is over.
 */
export const openExchange = (
  { url, timeoutMs, clock }: ServerSettings,
  model: string,
  signal: AbortSignal,
  whole?: Protocol["whole"],
): Exchange => {
  const subject: Subject = { server: addressOf(ollamaUrl(url)), model };
  const watch = startWatch(clock, timeoutMs, subject.server, signal);
  const protocol = {
    subject,
    unreachable: "start it with `ollama serve`, or set OLLAMA_URL to where it runs",
    headers: (given: Headers) => Object.fromEntries(given),
    checked: (reply: HttpReply, chunks: AsyncIterable<Uint8Array>) => {
      const packed = reply.header("content-encoding");
      if (packed !== "" && packed !== "identity")
        throw failureOfBytes(subject, `bytes packed as ${packed}, which were not asked for`, false);
      return checkedLines(chunks, subject);
    },
    whole,
    failureOfStatus: (reply: Parameters<typeof failureOfStatus>[1]): EngramError =>
      failureOfStatus(subject, reply),
  };
  const fetch = Object.assign(fetchOver(watch, protocol, clock), { preconnect: (): void => {} });
  return {
    subject,
    client: new Ollama({ host: url, fetch }),
    grew: watch.grew,
    failureOf: (error) => {
      if (watch.signal.aborted) return watch.signal.reason;
      // The one fault that is left to the package to find.
      return error instanceof Error && error.message.startsWith("Did not receive done")
        ? failureOfEnd(subject)
        : error;
    },
    close: watch.end,
  };
};
