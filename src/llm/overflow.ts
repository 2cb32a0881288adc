import type { Overflow } from "../errors.ts";

// As OpenAI, vLLM, llama.cpp, SGLang, Mistral, TGI, LM Studio, xAI, Moonshot, Anthropic and Gemini word it.
const contextPatterns: readonly RegExp[] = [
  /"n_ctx":\s{0,4}(\d{1,12})/,
  /context (?:length|size|window)[^\d.]{0,40}?(\d{1,12})/i,
  /maximum (?:model|allowed|input|prompt) length[^\d.]{0,20}?(\d{1,12})/i,
  /with (\d{1,12}) maximum context length/i,
  /must be <= (\d{1,12})/,
  /tokens per min[^:]{0,20}: Limit (\d{1,12})/i,
  /model token limit: (\d{1,12})/i,
  /tokens > (\d{1,12}) maximum/i,
  /maximum number of tokens allowed \(?(\d{1,12})/i,
];
// What a server only knows the least of is not known.
const promptPatterns: readonly RegExp[] = [
  /"n_prompt_tokens":\s{0,4}(\d{1,12})/,
  /\((\d{1,12}) in the (?:messages|prompt)/i,
  /resulted in (\d{1,12}) tokens/i,
  /(?:request has|request contains|prompt contains|given:) (\d{1,12}) /i,
  /(?:request|input|prompt) (?:length )?\((?:length )?(\d{1,12})/i,
  /requested (?:about )?(\d{1,12}) tokens/i,
  /Limit \d{1,12}, Requested (\d{1,12})/,
  /prompt is too long: (\d{1,12})/i,
  /token count (?:of )?\(?(\d{1,12})/i,
];

const numberIn = (text: string, patterns: readonly RegExp[]): number | null => {
  for (const pattern of patterns) {
    const found = pattern.exec(text)?.[1];
    if (found !== undefined && Number(found) > 0) return Number(found);
  }
  return null;
};

/** What the text of a refusal tells of how long the prompt was, and how long it may be. */
export const overflowIn = (text: string): Overflow => ({
  contextTokens: numberIn(text, contextPatterns),
  promptTokens: numberIn(text, promptPatterns),
});
