"""Where data keys are kept, who opens them, and how they are kept fresh."""
