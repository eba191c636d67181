/** One setting of a service, read from its configuration class. */
export interface Setting {
  readonly variable: string;
  readonly kind: string;
  readonly description: string;
  readonly fallback: string;
}

const SETTING =
  /\/\*\*\s*((?:(?!\*\/)[\s\S])*?)\s*\*\/\s*@Env(Text|Integer|Flag|List|Secret)\('([A-Z0-9_]+)'[^)]*\)((?:(?!readonly)[\s\S])*?)readonly \w+(!|\?)?:\s*[^;=]+?(?:=\s*([^;]+))?;/g;
const KINDS: Readonly<Record<string, string>> = {
  Text: 'text',
  Integer: 'number',
  Flag: '`true` or `false`',
  List: 'list, by commas',
  Secret: 'secret, also `_FILE`',
};

/**
 * Reads the settings of a configuration class: doc comment, variable, kind, default.
 *
 * @param source - TypeScript source of the class.
 */
export function settingsOf(source: string): readonly Setting[] {
  return [...source.matchAll(SETTING)].map(([, comment = '', kind = '', variable = '', , marker, fallback]) => ({
    variable,
    kind: KINDS[kind] ?? kind,
    description: comment.replace(/\s*\n\s*\*\s?/g, ' ').trim(),
    fallback: marker === '!' ? 'required' : shortened(fallback),
  }));
}

/** A default as it stands in the class, where it is short enough to be read in a table. */
function shortened(fallback: string | undefined): string {
  const text = fallback?.replaceAll("'", '').trim() ?? '';
  if (text === '' || text === '[]') return '–';
  return text.length > 60 ? 'see there' : `\`${text}\``;
}

/**
 * The page docs/reference/configuration.md.
 *
 * @param services - Title and class source of each service.
 */
export function configurationReference(
  services: readonly { readonly title: string; readonly source: string }[],
): string {
  const sections = services.map(({ title, source }) => {
    const rows = settingsOf(source).map(
      ({ variable, kind, description, fallback }) =>
        `| \`${variable}\` | ${kind} | ${fallback.replaceAll('|', '\\|')} | ${description.replaceAll('|', '\\|')} |`,
    );
    return [`## ${title}`, '', '| variable | kind | default | what it is |', '|---|---|---|---|', ...rows].join('\n');
  });
  return [
    '# Configuration',
    '',
    'Environment variables, checked together at start: every problem is reported at once, by name and never with a value. `--print-config` shows the',
    'effective configuration with secrets masked. This page is made from the configuration classes by `npm run docs`; a test fails when it is out of date.',
    '',
    sections.join('\n\n'),
    '',
  ].join('\n');
}
