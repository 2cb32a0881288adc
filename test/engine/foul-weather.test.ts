import { faults } from "../support/fake-ollama-faults.ts";
import { holdsInWeather, type Weather } from "../support/weather.ts";
import { withOllama } from "../support/with-ollama.ts";

/*
 * An engine whose model is on an Ollama server that fails in every way there is: what is asked again, what of a partial
 * answer stays, what the client is told, and that a retry goes on when the weather is fine.
 */

const { fake } = await withOllama();

const weather = {
  "not-found": ["MODEL_NOT_FOUND", false, ""],
  "bad-request": ["MODEL_ERROR", false, ""],
  "no-chat": ["MODEL_ERROR", false, ""],
  unauthorized: ["MODEL_ERROR", false, ""],
  forbidden: ["MODEL_ERROR", false, ""],
  "no-images": ["MODEL_ERROR", false, ""],
  "bad-option": ["MODEL_ERROR", false, ""],
  html: ["MODEL_ERROR", false, ""],
  "html-404": ["MODEL_ERROR", false, ""],
  redirect: ["MODEL_ERROR", false, ""],
  sse: ["MODEL_ERROR", false, ""],
  "plain-text": ["MODEL_ERROR", false, ""],
  gzip: ["MODEL_ERROR", false, ""],
  "context-text": ["CONTEXT_OVERFLOW", false, ""],
  "context-nested": ["CONTEXT_OVERFLOW", false, ""],
  "rate-limit": ["MODEL_UNAVAILABLE", true, ""],
  busy: ["MODEL_UNAVAILABLE", true, ""],
  "html-502": ["MODEL_UNAVAILABLE", true, ""],
  "reset-before-head": ["MODEL_UNAVAILABLE", true, ""],
  "http-500": ["MODEL_ERROR", true, ""],
  "runner-died": ["MODEL_ERROR", true, ""],
  "broken-call": ["MODEL_ERROR", true, ""],
  "error-first": ["MODEL_ERROR", true, ""],
  "other-json": ["MODEL_ERROR", true, ""],
  empty: ["MODEL_ERROR", true, ""],
  load: ["MODEL_ERROR", true, ""],
  silent: ["MODEL_ERROR", true, ""],
  "blank-thinking": ["MODEL_ERROR", true, ""],
  reset: ["MODEL_ERROR", true, "Hello wor"],
  cut: ["MODEL_ERROR", true, "Hello wor"],
  "no-done": ["MODEL_ERROR", true, "Hello wor"],
  "not-streamed": ["MODEL_ERROR", true, "Hello wor"],
  "other-end": ["MODEL_ERROR", true, "Hello wor"],
  "error-line": ["MODEL_ERROR", true, "Hello wor"],
  "malformed-line": ["MODEL_ERROR", true, "Hello wor"],
  "null-line": ["MODEL_ERROR", true, "Hello wor"],
  "odd-shape": ["MODEL_ERROR", true, "Hello wor"],
  "invalid-utf8": ["MODEL_ERROR", true, "Hello wor"],
  "bottomless-call": ["MODEL_ERROR", true, "Hello wor"],
  "call-flood": ["MODEL_ERROR", true, "Hello wor"],
  "endless-name": ["MODEL_ERROR", true, "Hello wor"],
  "call-without-name": ["MODEL_ERROR", true, "Hello wor"],
  "endless-line": ["MODEL_ERROR", true, "Hello wor"],
} satisfies Partial<Record<keyof typeof faults, Weather>>;

holdsInWeather(() => fake, weather, faults);
