import type { OllamaSettings } from "../../src/llm/ollama/exchange.ts";
import { openOllama } from "../../src/llm/ollama/ollama.ts";
import { openFakeOllama, type FakeOllama } from "./fake-ollama.ts";
import { sharing, type WithServer } from "./with-server.ts";

/** A stand-in for Ollama and its adapters. */
export const withOllama = async (): Promise<WithServer<FakeOllama, OllamaSettings>> =>
  sharing(await openFakeOllama(), (settings, more) => openOllama({ ...settings, ...more }));
