import type { Socket } from "node:net";
import { isJsonObject, type JsonObject } from "../../src/agent/json.ts";
import { openFakeExchange, type FakeExchange } from "./fake-ollama-exchange.ts";

/** A chat completion as it was asked for, and the means to answer it as a stream. */
export type FakeCompletion = Omit<FakeExchange, "event" | "done"> & {
  /** One event, whatever its data. */
  readonly data: (data: string) => void;
  /** One chunk with this delta, and `more` beside it in its choice. */
  readonly delta: (delta: JsonObject, more?: JsonObject) => void;
  /** The last chunk, the usage where it was asked for, and the end of the stream. */
  readonly finish: (reason?: string, usage?: JsonObject) => void;
};

const usageAsked = ({ body }: FakeExchange): boolean =>
  isJsonObject(body["stream_options"]) && body["stream_options"]["include_usage"] === true;

/** The exchange on a connection, as the Python and C++ servers spell it. */
export const openFakeCompletion = (
  socket: Socket,
  head: string,
  bodyText: string,
): FakeCompletion => {
  const x = openFakeExchange(socket, head, bodyText, "text/event-stream; charset=utf-8");
  const data = (text: string): void => x.raw(`data: ${text}\n\n`);
  const chunk = (choices: readonly JsonObject[], usage: JsonObject | null): void =>
    data(
      JSON.stringify({
        id: "chatcmpl-1",
        object: "chat.completion.chunk",
        created: 1_790_000_000,
        model: x.body["model"] ?? "",
        choices,
        ...(usageAsked(x) && { usage }),
      }),
    );
  const delta = (of: JsonObject, more: JsonObject = {}): void =>
    chunk([{ index: 0, delta: of, logprobs: null, finish_reason: null, ...more }], null);
  return {
    ...x,
    data,
    delta,
    say: (content) => delta({ content }),
    finish: (reason = "stop", usage = { prompt_tokens: 11, completion_tokens: 7 }) => {
      delta({}, { finish_reason: reason });
      if (usageAsked(x)) chunk([], usage);
      data("[DONE]");
      x.end();
    },
  };
};
