"""pghot from Python and in notebooks: what `import pghot` offers. Text is taken as on the command line, results show
themselves."""
