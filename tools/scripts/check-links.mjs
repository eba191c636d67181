// Every relative link in the documents leads to a file, and every anchor to a heading.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { root } from './workspace.mjs';

const documents = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], { cwd: root })
  .toString()
  .split('\n')
  .filter((path) => path !== '' && existsSync(join(root, path)));

const withoutCode = (text) => text.replace(/^```[^]*?^```/gm, '').replace(/`[^`\n]*`/g, '');

const anchorsOf = (path) => {
  const headings = readFileSync(path, 'utf8')
    .replace(/^```[^]*?^```/gm, '')
    .matchAll(/^#+ (.+)$/gm);
  return new Set(
    [...headings].map(([, title]) =>
      title
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .trim()
        .replace(/\s/g, '-'),
    ),
  );
};

const broken = documents.flatMap((document) => {
  const text = withoutCode(readFileSync(join(root, document), 'utf8'));
  return [...text.matchAll(/\]\(([^)\s]+)(?:\s+"[^"]*")?\)/g)]
    .map(([, link]) => link)
    .filter((link) => !/^[a-z]+:/.test(link))
    .flatMap((link) => {
      const [file, anchor] = decodeURI(link).split('#');
      const target = file === '' ? join(root, document) : join(root, dirname(document), file);
      if (!existsSync(target)) return [`${document}: ${link}: no such file (${relative(root, target)})`];
      if (anchor !== undefined && target.endsWith('.md') && !anchorsOf(target).has(anchor)) {
        return [`${document}: ${link}: no such heading`];
      }
      return [];
    });
});

for (const line of broken) console.error(line);
console.log(`${documents.length} documents, ${broken.length} broken links`);
process.exitCode = broken.length === 0 ? 0 : 1;
