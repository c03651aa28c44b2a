# A function URL for callers with IAM rights; nothing costs while nobody calls but the image and the alarms.
name = "firebrick"
