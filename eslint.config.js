/**
 * Lint rules. Formatting is prettier's; these are about meaning: a promise nobody waits for, a switch
 * that forgets a case, time taken from anywhere but the Clock.
 */
import tseslint from 'typescript-eslint';

const TIME_MESSAGE = 'Time enters as an argument or through a Clock; only src/base/clock.ts reads it.';
const EXIT_MESSAGE = 'Only src/cli.ts ends the process; throw, or set process.exitCode.';

const timeGlobals = ['setTimeout', 'setInterval', 'setImmediate'].map((name) => ({
  name,
  message: TIME_MESSAGE,
}));
const timeProperties = [
  ['Date', 'now'],
  ['performance', 'now'],
  ['process', 'hrtime'],
  ['Math', 'random'],
].map(([object, property]) => ({ object, property, message: TIME_MESSAGE }));
const exitProperty = { object: 'process', property: 'exit', message: EXIT_MESSAGE };
const timeModules = {
  paths: ['node:timers', 'node:timers/promises'].map((name) => ({ name, message: TIME_MESSAGE })),
};
const currentTime = {
  selector: "NewExpression[callee.name='Date'][arguments.length=0]",
  message: TIME_MESSAGE,
};

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', '.demo/', '.cache/'] },
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/no-floating-promises': ['error', { ignoreVoid: true }],
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      // An interface with async methods may have a member that has nothing to wait for.
      '@typescript-eslint/require-await': 'off',
      // `!` is how an index known to be good is written under noUncheckedIndexedAccess.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      eqeqeq: 'error',
      'no-restricted-exports': [
        'error',
        { restrictDefaultExports: { direct: true, named: true, defaultFrom: true } },
      ],
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/base/clock.ts'],
    rules: {
      'no-restricted-globals': ['error', ...timeGlobals],
      'no-restricted-properties': ['error', ...timeProperties, exitProperty],
      'no-restricted-imports': ['error', timeModules],
      'no-restricted-syntax': ['error', currentTime],
    },
  },
  {
    files: ['src/cli.ts'],
    rules: { 'no-restricted-properties': ['error', ...timeProperties] },
  },
  {
    // node:test collects the promises of its test and suite functions itself.
    files: ['test/**/*.ts'],
    rules: {
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          ignoreVoid: true,
          allowForKnownSafeCalls: [
            {
              from: 'package',
              package: 'node:test',
              name: ['test', 'it', 'describe', 'suite', 'before', 'after', 'beforeEach', 'afterEach'],
            },
          ],
        },
      ],
    },
  },
  {
    files: ['**/*.js', '**/*.mjs'],
    languageOptions: {
      globals: {
        process: 'readonly',
        console: 'readonly',
        setTimeout: 'readonly',
        setInterval: 'readonly',
        clearInterval: 'readonly',
      },
    },
    rules: { 'no-undef': 'error', 'no-unused-vars': 'error', eqeqeq: 'error' },
  },
);
