import { isJsonObject } from "../../agent/json.ts";
import { EngramError } from "../../errors.ts";
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

/** What a server may refuse of a request that it takes without. */
export type Refusal = "thinking" | "usage" | "format" | "tools";

const refusals: readonly (readonly [Refusal, RegExp])[] = [
  ["thinking", /reasoning_?effort|not support (?:thinking|reasoning)/i],
  ["usage", /stream_options|include_usage/],
  ["format", /response_format|json_schema|structured outputs?/i],
  ["tools", /(?:not|n't) support(?:ed)?(?: for| by| with)?[^.:]{0,20}\b(?:tools?|function call)/i],
  [
    "tools",
    /\b(?:tools?|tool (?:use|calling|calls?|choice)|tool_choice|function calling)['"`]? (?:is|are) not (?:supported|enabled|available|allowed)/i,
  ],
  // vLLM, llama.cpp (two versions), OpenRouter.
  ["tools", /"loc":\s?\["body",\s?"tools"/],
  ["tools", /enable-auto-tool-choice|requires? --jinja|cannot use tools|support tool use/i],
  [
    "tools",
    /(?:unsupported param(?:eter)?|unrecognized request argument supplied|unknown (?:field|parameter|argument))\W{0,6}(?:tools|tool_choice|functions)\b/i,
  ],
];

/** What a refused request may be asked for without, in the order of the likelihood that it was that. */
export const refusalsIn = ({ status, body }: FailedReply): readonly Refusal[] => {
  // The llama.cpp server says 500 to tools, OpenRouter 404; else a request that cannot be taken is one of these.
  const fields = [400, 422, 501].includes(status);
  const refused = refusals.filter(
    ([part, pattern]) => (fields || part === "tools") && pattern.test(body),
  );
  return [...new Set(refused.map(([part]) => part))];
};

const overflow: Verdict = {
  code: "context_overflow",
  transient: false,
  advice: "set the agent's max_context_tokens below the model's context",
};

const badKey: Verdict = { code: "model_error", transient: false, advice: "check LLM_API_KEY" };

/** Failures told apart by the server's words, wherever they come. */
const verdictsByText: readonly (Verdict & { readonly pattern: RegExp })[] = [
  {
    pattern:
      /context_length_exceeded|exceed_context_size|context (?:length|size|window)|maximum (?:model|allowed|input|prompt) length|must be <= \d+\. Given|request too large|prompt is too long|model token limit|maximum number of tokens allowed/i,
    ...overflow,
  },
  {
    pattern: /insufficient_quota|insufficient[ _](?:balance|credits?)/i,
    code: "model_error",
    transient: false,
    advice: "the account behind LLM_API_KEY has nothing left to spend",
  },
  { pattern: /invalid_api_key|incorrect api key/i, ...badKey },
];

const misaddressed: Verdict = {
  code: "model_error",
  transient: false,
  advice: "check LLM_BASE_URL",
};

const verdictsByStatus: ReadonlyMap<number, Verdict> = new Map([
  [401, badKey],
  [402, { ...badKey, advice: "the account behind LLM_API_KEY has nothing left to spend" }],
  [403, { ...badKey, advice: "check LLM_API_KEY and what it may use" }],
  [413, overflow],
  ...[301, 302, 303, 307, 308, 404, 405].map((status) => [status, misaddressed] as const),
  ...[408, 409, 425, 429, 499, 502, 503, 504, 529].map((status) => [status, overloaded] as const),
]);

/** `body` is where figures are looked for: some have them beside the text. */
const verdictOf = (status: number, text: string, body: string): Verdict => {
  const verdict =
    verdictsByText.find(({ pattern }) => pattern.test(text)) ??
    verdictsByStatus.get(status) ??
    unforeseen(status);
  return verdict.code === "context_overflow" ? { ...verdict, overflow: overflowIn(body) } : verdict;
};

const hasNoModel = (status: number, text: string): boolean =>
  /model_not_found|invalid_model|model not (?:exist|found)|not a valid model/i.test(text) ||
  (status === 404 && /\bmodels?\b/i.test(text));

const noModel = ({ server, model }: Subject, text: string): EngramError =>
  new EngramError(
    "model_not_found",
    `the model server at ${server} has no model "${model}": ${tidy(text)}`,
  );

/** Takes what is secret out of a server's words: the key, which some repeat, and what OpenAI lets be seen of it. */
type Clean = (text: string) => string;

export const cleanerOf =
  (apiKey: string | null): Clean =>
  (text) =>
    (apiKey === null ? text : text.replaceAll(apiKey, "[LLM_API_KEY]")).replace(
      /\bsk-[\w*-]{2,}/g,
      "[LLM_API_KEY]",
    );

/** The failure behind an HTTP status other than 200. */
export const failureOfStatus = (
  subject: Subject,
  reply: FailedReply,
  clean: Clean,
): EngramError => {
  const { status, body } = reply;
  const value = parsed(body);
  const said = errorText(value) ?? (isJsonObject(value) ? JSON.stringify(value) : null);
  const text = said === null ? null : clean(said);
  if (text !== null && hasNoModel(status, text)) return noModel(subject, text);
  if (text === null && body !== "" && status < 500 && !verdictsByStatus.has(status))
    return notOpenAi(subject.server, `status ${status}: ${tidy(clean(body))}`);
  return failureOfVerdict(subject, verdictOf(status, text ?? "", body), reply, text);
};

/** The failure that a server tells in a stream, or in a body that began with status 200. */
export const failureOfError = (subject: Subject, error: unknown, clean: Clean): EngramError => {
  const text = clean(errorText(error) ?? JSON.stringify(error) ?? "");
  const { code, status = code } = isJsonObject(error) ? error : {};
  const number = typeof status === "number" && status >= 400 && status < 600 ? status : 500;
  if (hasNoModel(number, text)) return noModel(subject, text);
  return failureInReply(subject, verdictOf(number, text, JSON.stringify(error) ?? ""), text);
};

/** Bytes that are not the protocol's: `what` says how. A repetition helps only where the stream began well. */
export const failureOfBytes = (subject: Subject, what: string, begun: boolean): EngramError =>
  begun ? failureOfBytesInReply(subject, what) : notOpenAi(subject.server, what);

const notOpenAi = (server: string, what: string): EngramError =>
  new EngramError(
    "model_error",
    `the server at ${server} does not answer as OpenAI's API does (${what}): check LLM_BASE_URL`,
  );

/** A reply that is JSON, but not of the form that it should have. */
export const unreadable = (what: string): EngramError =>
  new EngramError("model_error", `the model server sent ${what}: does it speak OpenAI's API?`, {
    transient: true,
  });
