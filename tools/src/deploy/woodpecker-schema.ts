/**
 * What a pipeline of this workspace may hold: the part of https://woodpecker-ci.org/docs/usage/workflow-syntax that is used here, and of the settings of
 * the plugin that builds images. Tighter than Woodpecker itself, which takes a misspelt setting and drops it.
 */
export const PIPELINE_SCHEMA = {
  type: 'object',
  additionalProperties: false,
  required: ['when', 'steps'],
  properties: {
    when: { $ref: '#/$defs/when' },
    variables: { type: 'array' },
    steps: {
      type: 'object',
      minProperties: 1,
      propertyNames: { pattern: '^[a-z][a-z0-9-]*$' },
      additionalProperties: {
        type: 'object',
        additionalProperties: false,
        required: ['image'],
        properties: {
          image: { type: 'string', pattern: '^[a-z0-9./-]+:[A-Za-z0-9._-]+$' },
          when: { $ref: '#/$defs/when' },
          privileged: { type: 'boolean' },
          environment: { type: 'object', additionalProperties: { type: 'string' } },
          commands: { type: 'array', minItems: 1, items: { type: 'string' } },
          settings: { $ref: '#/$defs/imageSettings' },
        },
        // Either commands of our own, or a plugin with its settings.
        oneOf: [{ required: ['commands'] }, { required: ['settings'] }],
      },
    },
  },
  $defs: {
    when: {
      type: 'array',
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['event'],
        properties: {
          event: { type: 'array', items: { enum: ['push', 'pull_request', 'manual', 'tag'] } },
          branch: { type: 'array', items: { type: 'string' } },
        },
      },
    },
    secret: {
      type: 'object',
      additionalProperties: false,
      required: ['from_secret'],
      properties: { from_secret: { type: 'string', pattern: '^[a-z_]+$' } },
    },
    imageSettings: {
      type: 'object',
      additionalProperties: false,
      required: ['target', 'dockerfile', 'platforms', 'registry', 'repo', 'username', 'password', 'tags'],
      properties: {
        target: { type: 'string' },
        dockerfile: { type: 'string' },
        platforms: { type: 'string' },
        registry: { $ref: '#/$defs/secret' },
        repo: { $ref: '#/$defs/secret' },
        username: { $ref: '#/$defs/secret' },
        password: { $ref: '#/$defs/secret' },
        // A list: an object would reach the plugin as JSON.
        build_args: { type: 'array', items: { type: 'string', pattern: '^[A-Z_]+=' } },
        tags: { type: 'array', minItems: 1, items: { type: 'string' } },
      },
    },
  },
} as const;
