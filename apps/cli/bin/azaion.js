#!/usr/bin/env node
// Committed, so that npm can link it before anything was compiled.
import '../dist/main.js';
