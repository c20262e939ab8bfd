import variant from "@jitl/quickjs-ng-wasmfile-release-sync";
import { newQuickJSWASMModuleFromVariant } from "quickjs-emscripten-core";
import { asking, type Answer, type Engine } from "./script.ts";

/** QuickJS, an interpreter that shares nothing with V8 or JavaScriptCore, compiled to WebAssembly. */
export const quickjs: Engine = async (script, question) => {
  const module = await newQuickJSWASMModuleFromVariant(variant);
  using runtime = module.newRuntime({ maxStackSizeBytes: 4 * 1024 * 1024 });
  using context = runtime.newContext();
  using result = context.evalCode(`${ENCODING}\n${script}\n${asking(question)}`, "script.js");
  if (result.error !== undefined) {
    const { name, message, stack } = context.dump(result.error) as Error;
    throw new Error(`QuickJS: ${name}: ${message} ${stack}`);
  }
  return JSON.parse(context.getString(result.value)) as Answer;
};

/** The language alone has no `TextEncoder` and `TextDecoder`: these are what the code asks of the two, no more. */
const ENCODING = `
globalThis.TextEncoder = class {
  encode(text) {
    const escaped = unescape(encodeURIComponent(text.toWellFormed()));
    return Uint8Array.from(escaped, (unit) => unit.charCodeAt(0));
  }
  encodeInto(text, into) {
    const bytes = this.encode(text);
    if (bytes.length > into.length) return { read: 0, written: 0 };
    into.set(bytes);
    return { read: text.length, written: bytes.length };
  }
};
globalThis.TextDecoder = class {
  decode(bytes) {
    let escaped = "";
    for (const byte of bytes) escaped += "%" + byte.toString(16).padStart(2, "0");
    try { return decodeURIComponent(escaped); } catch { throw new TypeError("not UTF-8"); }
  }
};`;
