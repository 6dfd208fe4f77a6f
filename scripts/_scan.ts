/** A source file with what is not code blanked, every index as it was. */
export interface Scanned {
  /** Without comments. */
  readonly code: string;
  /** Without comments and without what is inside of quotes and patterns. */
  readonly bare: string;
}

/** After these a slash begins a pattern; after anything else it divides. */
const BEFORE_PATTERN =
  /(?:^|[(,=:[!&|?{};+\-*%~^<>]|\b(?:return|typeof|case|in|of|do|else|void|delete|throw|new|await|yield))$/;

function blank(text: string): string {
  return text.replace(/[^\n]/g, " ");
}

/** Tells code from comments, strings, templates and patterns. */
export function scan(source: string): Scanned {
  let code = "";
  let bare = "";
  let index = 0;
  // Braces that are open; a template's expression ends at its own.
  const braces: ("{" | "${")[] = [];

  const emit = (end: number, kind: "code" | "comment" | "text") => {
    const text = source.slice(index, end);
    code += kind === "comment" ? blank(text) : text;
    bare += kind === "code" ? text : blank(text);
    index = end;
  };
  const endOfTemplate = (from: number) => {
    let end = from;
    while (end < source.length && source[end] !== "`") {
      if (source.startsWith("${", end)) return end;
      end += source[end] === "\\" ? 2 : 1;
    }
    return end;
  };
  const template = () => {
    emit(endOfTemplate(index), "text");
    if (source.startsWith("${", index)) {
      braces.push("${");
      emit(index + 2, "code");
    } else {
      emit(index + 1, "code");
    }
  };

  while (index < source.length) {
    const one = source[index];
    const two = source.slice(index, index + 2);
    if (two === "//") {
      const end = source.indexOf("\n", index);
      emit(end === -1 ? source.length : end, "comment");
    } else if (two === "/*") {
      const end = source.indexOf("*/", index + 2);
      emit(end === -1 ? source.length : end + 2, "comment");
    } else if (one === '"' || one === "'") {
      emit(index + 1, "code");
      let end = index;
      while (end < source.length && source[end] !== one) {
        end += source[end] === "\\" ? 2 : 1;
      }
      emit(end, "text");
      emit(index + 1, "code");
    } else if (one === "`") {
      emit(index + 1, "code");
      template();
    } else if (one === "/" && BEFORE_PATTERN.test(bare.slice(-40).trimEnd())) {
      emit(index + 1, "code");
      let end = index;
      for (let inClass = false; end < source.length; end++) {
        if (source[end] === "\\") end++;
        else if (source[end] === "[") inClass = true;
        else if (source[end] === "]") inClass = false;
        else if (source[end] === "\n") break;
        else if (source[end] === "/" && !inClass) break;
      }
      emit(end, "text");
      emit(index + 1, "code");
    } else if (one === "{") {
      braces.push("{");
      emit(index + 1, "code");
    } else if (one === "}") {
      emit(index + 1, "code");
      if (braces.pop() === "${") template();
    } else {
      emit(index + 1, "code");
    }
  }
  return { code, bare };
}
