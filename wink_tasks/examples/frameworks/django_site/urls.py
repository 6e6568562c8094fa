from django.urls import path

from wink_tasks.examples.frameworks.django_site.reviews import views

urlpatterns = [
    path("reviews", views.create),
    path("reviews/<str:run_id>", views.show),
]
