"""Training of encoders: fine-tuning for a task, pretraining, distilling. What comes out is an ordinary checkpoint."""
