/** What an OpenAPI document says, as far as its examples go. */
interface ApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, DocumentedOperation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

interface DocumentedOperation {
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly example?: unknown;
    readonly schema?: Schema;
  }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, MediaType>> };
}

interface MediaType {
  readonly schema: Schema;
  readonly examples?: Readonly<Record<string, { readonly value: unknown }>>;
}

interface Schema {
  readonly $ref?: string;
  readonly allOf?: readonly Schema[];
  readonly type?: string;
  readonly format?: string;
  readonly example?: unknown;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
}

/** How one operation answered to what its document gives as an example. */
export interface ExampleAnswer {
  /** As in `POST /load/{filename}`. */
  readonly operation: string;
  readonly status: number;
  /** The start of the answer, for whoever looks for the reason. */
  readonly text: string;
}

const METHODS = ['post', 'put', 'patch', 'get', 'delete'];
const SHOWN_CHARACTERS = 300;
/** Event streams never end. */
const ANSWER_TIMEOUT_MS = 15_000;

/** Calls operations with nothing but what a service's own document gives as examples, as "Try it out" and "Execute" do. */
export class DocumentExamples {
  private constructor(
    private readonly url: string,
    private readonly document: ApiDocument,
  ) {}

  /** Reads the document of a running service. */
  static async of(url: string): Promise<DocumentExamples> {
    return new DocumentExamples(url, (await (await fetch(`${url}/docs/json`)).json()) as ApiDocument);
  }

  /** All operations, what makes before what changes before what reads before what deletes, and there the inner before the outer. */
  get operations(): readonly string[] {
    const innerFirst = Object.entries(this.document.paths).sort(([one], [other]) => other.length - one.length);
    return METHODS.flatMap((method) =>
      (method === 'delete' ? innerFirst : Object.entries(this.document.paths)).flatMap(([path, operations]) =>
        method in operations ? [`${method.toUpperCase()} ${path}`] : [],
      ),
    );
  }

  /** The example of a JSON body. */
  bodyOf(operation: string): unknown {
    const { requestBody } = this.find(operation);
    const media = requestBody?.content['application/json'];
    if (media === undefined) return undefined;
    const [first] = Object.values(media.examples ?? {});
    return first === undefined ? this.exampleOf(media.schema) : first.value;
  }

  /** @throws Error when a parameter or a member that is needed has no example. */
  async call(operation: string, token: string): Promise<ExampleAnswer> {
    const { parameters = [], requestBody } = this.find(operation);
    const [method, template = ''] = operation.split(' ');
    const path = template.replace(/\{(\w+)\}/g, (_, name: string) => {
      const parameter = parameters.find((one) => one.in === 'path' && one.name === name);
      const example = parameter?.example ?? (parameter?.schema && this.exampleOf(parameter.schema));
      if (example === undefined) throw new Error(`${operation}: the parameter ${name} has no example`);
      return encodeURIComponent(typeof example === 'string' ? example : JSON.stringify(example));
    });
    const headers: Record<string, string> = { authorization: `Bearer ${token}` };
    let body: string | FormData | undefined;
    if (requestBody?.content['application/json'] !== undefined) {
      headers['content-type'] = 'application/json';
      body = JSON.stringify(this.bodyOf(operation));
    } else if (requestBody?.content['multipart/form-data'] !== undefined) body = aForm();
    const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    const answer = await fetch(`${this.url}${path}`, {
      ...(method === undefined ? {} : { method }),
      headers,
      signal,
      ...(body === undefined ? {} : { body }),
    });
    if (answer.headers.get('content-type')?.startsWith('text/event-stream') === true) {
      await answer.body?.cancel();
      return { operation, status: answer.status, text: '' };
    }
    const text = (await answer.text()).slice(0, SHOWN_CHARACTERS);
    return { operation, status: answer.status, text };
  }

  private find(operation: string): DocumentedOperation {
    const [method = '', path = ''] = operation.split(' ');
    const found = this.document.paths[path]?.[method.toLowerCase()];
    if (found === undefined) throw new Error(`${operation} is not documented`);
    return found;
  }

  /** What Swagger UI would fill in; members without an example are left out where they may be. */
  private exampleOf(schema: Schema): unknown {
    if (schema.example !== undefined) return schema.example;
    if (schema.default !== undefined) return schema.default;
    if (schema.$ref !== undefined) {
      const named = this.document.components.schemas[schema.$ref.split('/').at(-1) ?? ''];
      return named && this.exampleOf(named);
    }
    if (schema.allOf?.[0] !== undefined) return this.exampleOf(schema.allOf[0]);
    if (schema.enum !== undefined) return schema.enum[0];
    if (schema.type === 'array') {
      const item = schema.items && this.exampleOf(schema.items);
      return item === undefined ? undefined : [item];
    }
    if (schema.type !== 'object') return undefined;
    const members = Object.entries(schema.properties ?? {}).map(
      ([name, member]) => [name, this.exampleOf(member)] as const,
    );
    const missing = members.find(([name, value]) => value === undefined && schema.required?.includes(name) === true);
    if (missing !== undefined) throw new Error(`the member ${missing[0]} has no example`);
    return Object.fromEntries(members.filter(([, value]) => value !== undefined));
  }
}

function aForm(): FormData {
  const form = new FormData();
  form.set('data', new Blob(['an example']), 'example.txt');
  return form;
}
