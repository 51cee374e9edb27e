"""Our own upkeep as an Airflow DAG, tagged `sync-system`: what nobody needs any more goes, every night."""

import pendulum
from airflow.sdk import DAG, CronTriggerTimetable
from sync_provider.operators import UpkeepOperator

with DAG(
    dag_id="sync_maintenance",
    description="Ferme les exécutions perdues et supprime ce qui a dépassé sa durée de conservation",
    schedule=CronTriggerTimetable("30 3 * * *", timezone="Europe/Paris"),
    start_date=pendulum.datetime(2025, 1, 1, tz="Europe/Paris"),
    catchup=False,
    max_active_runs=1,
    tags=["sync-system"],
):
    UpkeepOperator(task_id="clean", retries=2)
