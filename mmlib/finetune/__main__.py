"""`python -m mmlib.finetune CONFIG.yaml`: see `mmlib.finetune.run`."""

from mmlib.finetune.run import main

if __name__ == "__main__":
    main()
