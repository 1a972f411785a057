"""`lightseg score`: predictions of any program, scored by the evaluators and protocol of a run (docs/score.md).

- api: from files to a record
- coco_results, label_images, class_lists: the predictions of each task, read and scored
"""
