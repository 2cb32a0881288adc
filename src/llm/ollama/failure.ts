import { EngramError, messageOf } from "../../errors.ts";
import {
  errorText,
  failureInReply,
  failureOfBytes as failureOfBytesInReply,
  failureOfVerdict,
  overloaded,
  parsed,
  tidy,
  unforeseen,
  type FailedReply,
  type Subject,
  type Verdict,
} from "../failure.ts";
import { overflowIn } from "../overflow.ts";

/** Failures told apart by the server's words, wherever they come; statuses are too few for them. */
const verdictsByText: readonly (Verdict & { readonly pattern: RegExp })[] = [
  {
    // First: it quotes what the model wrote.
    pattern: /^error parsing tool call/i,
    code: "model_error",
    transient: true,
    advice: "the model wrote a broken tool call",
  },
  {
    // Ollama's own text, and the llama.cpp server's, which it passes on.
    pattern: /exceed_context_size|context (?:size|length|window)/i,
    code: "context_overflow",
    transient: false,
    advice: "set the agent's max_context_tokens below the model's context, or raise num_ctx",
  },
  {
    // Remembered, so that the next attempt asks for none.
    pattern: /does not support tools/i,
    code: "model_error",
    transient: true,
    advice: "its tools are offered to it as text from now on",
  },
  {
    pattern: /does not support thinking/i,
    code: "model_error",
    transient: true,
    advice: "it is asked without from now on",
  },
  {
    pattern: /image input/i,
    code: "model_error",
    transient: false,
    advice: "the model takes no images: choose another one",
  },
  {
    pattern: /does not support/i,
    code: "model_error",
    transient: false,
    advice: "choose another model",
  },
  {
    pattern: /^option "|invalid option/i,
    code: "model_error",
    transient: false,
    advice: "check LLM_OPTIONS",
  },
  {
    pattern: /invalid format|grammar|json schema/i,
    code: "model_error",
    transient: false,
    advice: "the server cannot hold the model to config.response_schema: simplify it",
  },
];

const verdictsByStatus: ReadonlyMap<number, Verdict> = new Map([
  [401, { code: "model_error", transient: false, advice: "sign in with: ollama signin" }],
  [
    403,
    {
      code: "model_error",
      transient: false,
      advice: "the server refuses this host or model: check OLLAMA_URL and the server's settings",
    },
  ],
  ...[408, 425, 429, 499, 502, 503, 504].map((status) => [status, overloaded] as const),
]);

const verdictOf = (status: number, text: string): Verdict => {
  const byText = verdictsByText.find(({ pattern }) => pattern.test(text));
  if (byText?.code === "context_overflow") return { ...byText, overflow: overflowIn(text) };
  return byText ?? verdictsByStatus.get(status) ?? unforeseen(status);
};

/** What a model can lack. */
export type Lacking = "tools" | "thinking";

/** What the model of a refused request lacks, by the server's word; null: another failure. */
export const lackingIn = (failure: unknown): Lacking | null => {
  // The model's name has no blank; what a model has written may stand in a failure of another status.
  const said = /answered status 400: \S+ does not support (tools|thinking) \(/.exec(
    messageOf(failure),
  )?.[1];
  return said === "tools" || said === "thinking" ? said : null;
};

/** The failure behind an HTTP status other than 200. 404 is model_not_found where an Ollama server says it. */
export const failureOfStatus = (subject: Subject, reply: FailedReply): EngramError => {
  const { server, model } = subject;
  const { status, body } = reply;
  const text = errorText(parsed(body));
  if (status === 404 && text !== null)
    return new EngramError(
      "model_not_found",
      `the model server at ${server} has no model "${model}": get it with: ollama pull ${model}`,
    );
  if (status >= 300 && status < 400)
    return notOllama(server, `status ${status}, a redirection, which is not followed`);
  if (text === null && body !== "" && status < 500 && !verdictsByStatus.has(status))
    return notOllama(server, `status ${status}: ${tidy(body)}`);
  return failureOfVerdict(subject, verdictOf(status, text ?? ""), reply, text);
};

/** The failure behind an error line in a stream that began well. */
export const failureOfLine = (subject: Subject, error: unknown): EngramError => {
  const text = errorText(error) ?? JSON.stringify(error) ?? "";
  return failureInReply(subject, verdictOf(500, text), text);
};

/** Bytes that are not the protocol's: `what` says how. A repetition helps only where the stream began well. */
export const failureOfBytes = (subject: Subject, what: string, begun: boolean): EngramError =>
  begun ? failureOfBytesInReply(subject, what) : notOllama(subject.server, what);

const notOllama = (server: string, what: string): EngramError =>
  new EngramError(
    "model_error",
    `the server at ${server} does not answer as Ollama does (${what}): check OLLAMA_URL`,
  );
