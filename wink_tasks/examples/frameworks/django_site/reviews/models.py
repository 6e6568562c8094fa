from django.db import models


class Source(models.Model):
    project = models.CharField(max_length=100)
    name = models.CharField(max_length=200)
    text = models.TextField()

    def __str__(self) -> str:
        return f"{self.project}/{self.name}"
