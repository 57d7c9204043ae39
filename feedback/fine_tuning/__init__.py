"""Fine-tuning on files, as OpenAI's API has it: a job is a run whose rows come from an operator's file."""
