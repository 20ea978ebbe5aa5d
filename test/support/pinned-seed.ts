import fc from 'fast-check';

// A property without a seed of its own draws the same cases in every run: what notices a change once does so again.
fc.configureGlobal({ seed: 20_261_122 });
